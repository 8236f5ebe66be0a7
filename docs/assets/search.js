// A search for an option: the dashes of "--json" and "-q" would exclude the word behind them.
const post = Worker.prototype.postMessage;
const QUERY = 2; // the message of the theme's search that carries what was typed
Worker.prototype.postMessage = function (message, ...rest) {
  if (message?.type === QUERY && typeof message.data === "string") {
    message = { ...message, data: message.data.replace(/(^|\s)(--+(?=\w)|-(?=\w\b))/g, "$1") };
  }
  return post.call(this, message, ...rest);
};
