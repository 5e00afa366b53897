"""Loads the project's pytest plugin: options, fixtures, live environments (harness.plugin)."""

# pytester runs pytest inside a test: that is how the plugin itself is tested.
pytest_plugins = ["harness.plugin", "pytester"]
