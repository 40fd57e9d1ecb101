"""The simulated farm beside what can be computed by hand."""

import math
from dataclasses import replace

import host_comfyui
import pytest

from benchmarks.farm.__main__ import CLIP, EACH, NAME, PAGE, SETTINGS, main, table
from benchmarks.farm.simulation import COMFYUI, Farm, Setting, waste
from devtools.pages import part

CALM = Setting(head=4.0, start=(20.0, 20.0), fetch=6.0)  # its actors are ready after 30 s


@pytest.mark.parametrize(("actors", "each"), [(1, 1), (10, 7), (100, 20)])
def test_without_faults_time_is_what_the_jobs_and_the_driver_take(actors, each):
    """The first round sets out one after the other, and from then on nobody waits for the driver."""
    found = Farm(CALM, actors, actors * each, 0).run()
    clip, call = CALM.clip, CALM.dispatch
    assert found.seconds == pytest.approx(30 + actors * call + each * clip + (each - 1) * call)
    assert found.clips == pytest.approx(actors * each * clip) and found.starts == pytest.approx(30 * actors) and not found.lost
    assert found.held == pytest.approx(actors * found.seconds)


def test_clips_per_hour_are_actors_by_the_time_of_a_job():
    found = Farm(CALM, 10, 20_000, 0).run()
    assert found.per_hour == pytest.approx(10 * 3600 / (CALM.clip + CALM.dispatch), rel=1e-3)


def test_a_driver_has_an_end():
    """More actors than it can feed, 20 s / 16 ms = 1,250, make no more clips."""
    found = Farm(CALM, 2000, 20_000, 0).run()
    assert found.per_hour == pytest.approx(3600 / CALM.dispatch, rel=0.2) and found.per_hour < 3600 / CALM.dispatch


@pytest.mark.parametrize("losses", [0.5, 5.0, 50.0])
def test_waste_grows_with_the_losses_as_the_formula_says(losses):
    """Actors that are ready at once, and take 40 s when they are lost."""
    told = Setting(head=0, start=(0, 0), fetch=0, comfyui_start=(30, 30), load=10, comfyui_losses=losses, retries=10**9)
    found = Farm(told, 20, 40_000, 1).run()
    lost = found.losses[COMFYUI]
    assert (found.starts + found.lost) / (found.held - found.waiting) == pytest.approx(
        waste(losses, told.clip, 40.0), rel=3 / math.sqrt(lost)
    )
    assert len(found.made) == 40_000


def test_the_formula_for_rare_losses_is_a_start_and_half_a_clip():
    assert waste(0.0, 20, 40) == 0
    assert waste(0.1, 20, 40) == pytest.approx(0.1 / 3600 * (40 + 20 / 2), rel=0.01)
    assert 0.9 < waste(200, 20, 40) < 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SETTINGS)
def test_every_job_ends_once_and_every_second_is_counted_once(name, seed):
    told = replace(SETTINGS[name], machine_losses=2 * SETTINGS[name].machine_losses, deadly=0.01, refused=0.01)
    found = Farm(told, 30, 1000, seed).run()
    assert sorted([job for job, _ in found.made] + found.failed) == list(range(1000))
    assert found.held == pytest.approx(found.clips + found.starts + found.lost + found.waiting)
    assert found.held <= 30 * found.seconds * (1 + 1e-9) and found.failed
    assert [moment for _, moment in found.made] == sorted(moment for _, moment in found.made)
    assert found.time(0.5) <= found.time(0.95) <= found.time(0.99) <= max(found.times)


def test_a_job_that_kills_is_tried_so_often_and_no_more():
    farm = Farm(replace(CALM, deadly=0.1, retries=2), 5, 200, 0)
    found = farm.run()
    deadly = [job for job, kind in enumerate(farm.kinds) if kind == "deadly"]
    assert deadly and sorted(found.failed) == deadly
    assert found.losses[COMFYUI] == 3 * len(deadly) and [farm.tries[job] for job in deadly] == [3] * len(deadly)


def test_a_lost_job_is_made_by_another_actor_before_the_rest():
    """Its own actor is busy starting; so no clip takes as long as a start and two clips."""
    told = Setting(start=(0, 0), fetch=0, comfyui_start=(500, 500), comfyui_losses=1.0)
    found = Farm(told, 20, 2000, 0).run()
    assert found.losses[COMFYUI] > 5 and 20 < max(found.times) < 3 * 20.2


def test_a_slow_card_is_slow_until_its_machine_is_lost():
    found = Farm(replace(CALM, slow_cards=1.0, slow_card=1.5), 4, 40, 0).run()
    assert found.times == pytest.approx([1.5 * CALM.clip] * 40, abs=0.1)


def test_the_same_seed_is_the_same_run():
    one, same, other = (Farm(SETTINGS["bad day"], 20, 500, seed).run() for seed in (1, 1, 2))
    assert one == same != other


def test_the_page_has_the_table_that_the_program_prints(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.strip() == part(PAGE.read_text(encoding="ascii"), NAME), "python dev.py bench farm -- --write"


def test_other_numbers_are_not_written_to_the_page(capsys):
    for wrong, said in (
        (["--clip", "250", "--write"], "--write goes with neither --clip nor --each"),
        (["--each", "0"], "--each: '0' is not a whole number from 1"),
        (["--clip", "-1"], "--clip: '-1' is not a number from 0.1"),
        (["--clip", "nan"], "--clip: 'nan' is not a number from 0.1"),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert said in capsys.readouterr().err
    assert table(CLIP, 1) != table(CLIP + 1, 1) and EACH > 1
    assert host_comfyui.ROOT in PAGE.parents
