"""The link to the repository: where this checkout was cloned from."""

import re
import subprocess
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

# user@host:path and scheme://user:password@host/path; what comes before the host stays here.
_SSH = re.compile(r"(?:ssh://)?[\w.-]+@(?P<host>[\w.-]+)[:/](?P<path>\S+)")
_WEB = re.compile(r"https?://(?:[^@/]*@)?(?P<host>[\w.:-]+)/(?P<path>\S+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the link, unless the checkout was cloned from no web address."""
    done = subprocess.run(
        ["git", "remote", "get-url", "origin"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0 and (address := web_address(done.stdout.strip())):
        config.repo_url, config.repo_name = address, address.rsplit("/", 1)[1]
    return config


def web_address(remote: str) -> str:
    """The page of a git remote, or "" if it has none."""
    found = _SSH.fullmatch(remote) or _WEB.fullmatch(remote)
    return f"https://{found['host']}/{found['path'].removesuffix('.git')}" if found else ""
