"""Loads the project's pytest plugin: options, fixtures, live environments."""

# pytester runs pytest inside a test: that is how the plugin itself is tested.
pytest_plugins = ["harness.proving.plugin", "pytester"]
