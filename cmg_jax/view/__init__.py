"""The robot live in a browser. Needs the extra `view`."""
