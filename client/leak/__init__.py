"""`ra-client leak`: what a model tells of the patients that this site has trained it on, tried out by itself."""
