"""The commands, a module each; :mod:`gateway_worker.cli.root` lists them."""
