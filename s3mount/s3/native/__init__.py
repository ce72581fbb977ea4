"""The lean side of the store's door: the four hot calls, built, signed and read by hand over kept-alive connections.

`transport` asks; `request` and `signing` write what is sent; `pool`, `dial`, `connection`, `framing` and `stream` carry it;
`head` and `pages` read what comes back. What an answer must look like to be believed is `answers`' business, what a refusal
means `translate`'s: both are shared with the boto3 side.
"""
