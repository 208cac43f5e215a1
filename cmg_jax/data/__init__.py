"""From motion files to a data set that a trainer can draw windows from."""
