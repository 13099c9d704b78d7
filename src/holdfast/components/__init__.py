"""The AWS blocks that Holdfast knows, one module and one facts file each.

The registry is written by hand, in the order in which a request meets the blocks; adding a block adds a line.
"""

from __future__ import annotations

from typing import Any

from holdfast.components.alb import Alb
from holdfast.components.apigateway import ApiGateway
from holdfast.components.awslambda import AwsLambda
from holdfast.components.base import Component
from holdfast.components.cloudfront import CloudFront
from holdfast.components.ec2 import Ec2
from holdfast.components.ecs import Ecs
from holdfast.components.edgefunction import EdgeFunction
from holdfast.components.eks import Eks
from holdfast.components.elasticbeanstalk import ElasticBeanstalk
from holdfast.components.route53 import Route53
from holdfast.components.s3 import S3
from holdfast.components.vpc import Vpc
from holdfast.errors import HoldfastError

REGISTRY: tuple[Component[Any], ...] = (
    Route53(),
    CloudFront(),
    EdgeFunction(),
    S3(),
    ApiGateway(),
    Vpc(),
    Alb(),
    Ec2(),
    Ecs(),
    Eks(),
    ElasticBeanstalk(),
    AwsLambda(),
    # Data stores stand here: a request reaches them last.
)


def names() -> tuple[str, ...]:
    """Names of all components, in request order."""
    return tuple(block.name for block in REGISTRY)


def component(name: str) -> Component[Any]:
    """The component with this registry name.

    Raises:
        HoldfastError: there is none.
    """
    for block in REGISTRY:
        if block.name == name:
            return block
    raise HoldfastError(f"no component {name!r}", hint=f"known components: {', '.join(names())}")
