"""The app in the browser: `vlscore app`. Needs the extra `app`."""
