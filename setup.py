"""Map the rooms at the top of the repository to the packages `lexhound.<room>`, subpackages included."""

from setuptools import find_packages, setup

ROOMS = ("index", "encoders", "retrieval", "eval", "serve")

packages = {f"lexhound.{room}": room for room in ROOMS}
for room in ROOMS:
    for package in find_packages(room):
        packages[f"lexhound.{room}.{package}"] = f"{room}/{package.replace('.', '/')}"

setup(packages=sorted(packages), package_dir=packages)
