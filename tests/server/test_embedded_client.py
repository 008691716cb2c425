"""The client's own tests, all of them, through the path of another application."""

import pytest

from ..client.test_catalogue import *  # noqa: F403
from ..client.test_releases import *  # noqa: F403
from .mounted import *  # noqa: F403

pytestmark = pytest.mark.long
