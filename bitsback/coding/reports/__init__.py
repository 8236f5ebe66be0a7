"""What a report of rates holds beside the rates, and how it is shown."""
