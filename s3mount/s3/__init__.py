"""The store's door: what S3 is asked, and what it answers.

`values` and `store` are what the rest of the house may know. `transport` is one request, one attempt, in a thread; it has
two sides, `boto` (boto3, which knows everything) and `lean` (the hot calls, built and signed by hand). `remote` joins
them: connections, urgency, retries, deadlines, and a second request where an answer is late; `workers` are its threads, and
`dispatch` spares them small answers.
"""
