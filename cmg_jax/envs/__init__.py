"""Reference motion inside Brax and MuJoCo Playground: the only code here that imports them. Needs the extra `rl`."""
