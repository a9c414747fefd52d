"""A street, a camera and a broker on one machine, for the newcomer and for the tests."""
