"""Random programs against every pass's contract: generators, oracles, reducer, corpus, campaigns.

In: anything of mlc. Nothing imports it but `tests/properties`. `python -m fuzz --seconds 60` runs a campaign.
"""
