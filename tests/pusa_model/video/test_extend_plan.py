"""Plans of an extension that cannot be, told by the input that is wrong."""

import pytest
from pusa.pusa_model.video.extend import Plan
from pusa.schedulers import InputError


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"overlap": 12}, "`overlap` is 12; a clip has 4n \\+ 1 frames, so use 9 or 13"),
        ({"new_frames": 10}, "`new_frames` is 10; it must be a multiple of 4"),
        ({"hops": 0}, "`hops` is 0; it must be 1 or more"),
        ({"cross_fade": 14}, "`cross_fade` is 14; it takes 0 to `overlap` \\(13\\)"),
        ({"color_match": 1.5}, "`color_match` is 1.5; it must be from 0 to 1"),
        ({"direction": "sideways"}, "use forwards or backwards"),
        ({"hop_seed": "random"}, "use increment or fixed"),
        ({"direction": "backwards", "overlap": 1}, "`overlap` is 1; before a clip 5 or more frames are needed"),
        ({"cross_fade": 2, "resample": "blend"}, "`cross_fade` needs `resample` keep"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        Plan(**changes)
