"""The only writer of Envoy's (and nginx's) configuration. Everything here is a value until ``xds.write``."""
