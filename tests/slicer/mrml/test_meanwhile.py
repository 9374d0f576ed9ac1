"""Another CT is chosen, while an answer is awaited or between two: results, labels and objects stay with their own."""

from __future__ import annotations

from pathlib import Path

from scripted import Bench

from ColipriLib.scene import heat


def shown_volumes(bench: Bench) -> set[str]:
    return {view.GetBackgroundVolumeID() for view in heat.slice_composites(bench.logic.desk.scene)}


def test_an_analysis_goes_on_with_the_volume_it_was_asked_of(bench: Bench) -> None:
    with bench.running(bench.logic.analysis.analyse):
        bench.logic.desk.choose(bench.second)

    case = bench.logic.desk.case_of(bench.first)
    assert case is not None
    assert len(case.findings) == 2
    assert len(case.structures) == 1
    assert bench.logic.desk.case_of(bench.second) is None
    assert bench.logic.desk.params.node_of("structures", bench.first) is not None
    assert bench.logic.desk.params.node_of("structures", bench.second) is None
    assert bench.first.GetID() not in shown_volumes(bench)


def test_the_map_of_a_phrase_belongs_to_the_volume_it_was_asked_of(bench: Bench) -> None:
    scene = bench.logic.desk.scene
    with bench.running(lambda: bench.logic.analysis.ask("pleural effusion")):
        bench.logic.desk.choose(bench.second)

    assert [node.GetName() for node in heat.heat_maps(scene, bench.first)] == ["Evidence: pleural effusion"]
    assert heat.heat_maps(scene, bench.second) == []
    assert heat.shown_phrases(scene) == frozenset(), "the slice views stay with the CT that was chosen"


def test_each_volume_has_a_current_object_of_its_own(bench: Bench, tmp_path: Path) -> None:
    bench.click(6, 10, 8)
    bench.labelling.add_object()
    bench.finish()
    assert bench.logic.view().label.current == 2

    bench.logic.desk.choose(bench.second)
    assert bench.logic.view().label.current == 1
    bench.click(6, 10, 8)
    bench.finish()
    assert [item.name for item in bench.labelling.state.objects] == ["Object 1"]
    bench.logic.desk.choose(bench.first)
    assert bench.logic.view().label.current == 2

    scene = bench.logic.desk.scene
    assert scene.WriteToMRB(str(tmp_path / "case.mrb"))
    bench.logic.desk.forget()
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "case.mrb"))
    bench.logic.begin(scene.GetFirstNodeByName("Colipri"))
    assert bench.logic.view().label.current == 2


def test_the_next_object_takes_what_is_asked_from_then_on(bench: Bench) -> None:
    with bench.running(lambda: bench.click(6, 10, 8)):
        for _ in range(2):
            bench.labelling.add_object()
            assert bench.labelling.add_object()
        bench.labelling.choose_object(3)
        bench.click(16, 10, 8)
        assert bench.logic.view().label.current == 3

    state = bench.labelling.state
    assert {label: len(prompts) for label, prompts in state.prompts.items()} == {1: 1, 3: 1}
    assert [item.label for item in state.objects] == [1, 2, 3, 4, 5]
    assert bench.logic.view().label.current == 3


def test_the_number_of_an_object_that_did_not_come_is_free_again(bench: Bench) -> None:
    with bench.running(lambda: bench.click(6, 10, 8)):
        bench.logic.desk.runner.cancel()
        bench.finish()
    bench.labelling.add_object()
    bench.finish()

    assert [item.label for item in bench.labelling.state.objects] == [1]


def test_the_next_object_of_labels_that_were_not_opened_yet(bench: Bench) -> None:
    bench.click(6, 10, 8)
    bench.finish()
    bench.logic.desk.forget()
    bench.finish()
    bench.logic.desk.scene.RemoveNode(bench.labelling.node)
    assert bench.labelling.state is None
    bench.labelling.add_object()
    bench.finish()

    assert [item.label for item in bench.labelling.state.objects] == [1, 2]
    assert bench.logic.view().label.current == 2


def test_a_segment_added_meanwhile_is_another_object_than_the_next_one(bench: Bench) -> None:
    bench.click(6, 10, 8)
    bench.finish()
    with bench.running(lambda: bench.click(6, 10, 10)):
        bench.labelling.add_object()
        bench.labelling.node.GetSegmentation().AddEmptySegment("mine", "Mine")
        bench.click(16, 10, 8)

    assert [item.name for item in bench.labelling.state.objects] == ["Object 1", "Object 2", "Mine"]
    assert len(bench.labelling.state.prompts[2]) == 1
