"""Which AWS region is nearest to which, for latency routing.

Route 53 decides by latency that AWS measures and does not publish
(https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/routing-policy-latency.html). What is public is the
place each region is named after, so regions are ordered by great-circle distance between those places: the
lower bound of latency and its main cause. Where two regions are about equally far, the order can differ from
Route 53's.

Names: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html. Coordinates are those
of the named place to half a degree, about 50 km; the closest two regions of the list are 226 km apart.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0

PLACES: dict[str, tuple[float, float]] = {
    "us-east-1": (39.0, -77.5),
    "us-east-2": (40.0, -83.0),
    "us-west-1": (37.5, -122.0),
    "us-west-2": (45.5, -119.5),
    "ca-central-1": (45.5, -73.5),
    "ca-west-1": (51.0, -114.0),
    "mx-central-1": (20.5, -100.5),
    "sa-east-1": (-23.5, -46.5),
    "eu-west-1": (53.5, -6.5),
    "eu-west-2": (51.5, 0.0),
    "eu-west-3": (49.0, 2.5),
    "eu-central-1": (50.0, 8.5),
    "eu-central-2": (47.5, 8.5),
    "eu-north-1": (59.5, 18.0),
    "eu-south-1": (45.5, 9.0),
    "eu-south-2": (41.5, -1.0),
    "il-central-1": (32.0, 35.0),
    "me-south-1": (26.0, 50.5),
    "me-central-1": (24.5, 54.5),
    "af-south-1": (-34.0, 18.5),
    "ap-south-1": (19.0, 73.0),
    "ap-south-2": (17.5, 78.5),
    "ap-southeast-1": (1.5, 104.0),
    "ap-southeast-2": (-34.0, 151.0),
    "ap-southeast-3": (-6.0, 107.0),
    "ap-southeast-4": (-38.0, 145.0),
    "ap-southeast-5": (3.0, 101.5),
    "ap-southeast-7": (13.5, 100.5),
    "ap-northeast-1": (35.5, 139.5),
    "ap-northeast-2": (37.5, 127.0),
    "ap-northeast-3": (34.5, 135.5),
    "ap-east-1": (22.5, 114.0),
    "ap-east-2": (25.0, 121.5),
}


def nearest_first(viewer: str | None, regions: tuple[str, ...]) -> tuple[str, ...]:
    """``regions`` from the nearest to ``viewer`` to the farthest.

    Without a viewer, or with one whose place is unknown, a region equal to it comes first and the rest keep
    their order; regions of unknown place come after all known ones, in their order.
    """
    return tuple(sorted(regions, key=lambda region: 0.0 if region == viewer else distance_km(viewer, region)))


def distance_km(one: str | None, other: str) -> float:
    """Great-circle distance in km between two regions; infinite where a place is unknown."""
    if one not in PLACES or other not in PLACES:
        return float("inf")
    (lat1, lon1), (lat2, lon2) = ((radians(lat), radians(lon)) for lat, lon in (PLACES[one], PLACES[other]))
    chord = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(chord))
