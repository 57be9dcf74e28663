"""From the client library's messages to those of the contract and back, one module per kind and direction.

Everything here is pure: no clock, no client, no file. An event that cannot be converted goes out as it is.
"""
