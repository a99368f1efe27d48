"""The web page: made from web/ by hatch_build.py, served by api/page.py."""
