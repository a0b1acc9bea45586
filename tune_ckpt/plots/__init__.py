"""Floor 4: pictures of sweeps and checkpoints, by matplotlib (the extra ``plot``).

Each module makes one ``matplotlib.figure.Figure``, without pyplot and its global state; `page` puts
them into one HTML file.
"""
