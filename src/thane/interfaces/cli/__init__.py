"""The command line: a host of the registry like HTTP. No rule of the business is here."""
