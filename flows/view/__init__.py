"""`tkm view`: a local server and its page, to look through results.

results.py   what the tables hold of a video, as arrays
bars.py      its tracks as bars on a timeline, no more than a screen can show
pictures.py  any frame of it, decoded, forward without seeking
joint.py     where a keypoint was sought and what each place was worth, from the artifacts
server.py    all this by HTTP
page/        what the browser gets: HTML, CSS, modules; nothing is built
"""
