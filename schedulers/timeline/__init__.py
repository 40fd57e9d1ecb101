"""The text of Timeline (Pusa): its lines, and where they lie on a clip."""

from .lines import Item as Item
from .lines import parse_timeline as parse_timeline
from .lines import read_timeline as read_timeline
from .lines import refuse as refuse
from .places import Placed as Placed
from .places import place_items as place_items
from .places import resolved_text as resolved_text
