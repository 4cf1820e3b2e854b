"""The parts of the site that are generated from the protocol; `conformance.reference_pages` puts them together."""
