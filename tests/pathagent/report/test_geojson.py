"""Regions as QuPath reads them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from report_cases import carcinoma, evidence, measurement, out_of_domain

from pathagent.report import geojson
from pathagent_tools.core.records import Report

BOUNDS = {"S1": (0, 0)}


def test_features_have_the_form_that_qupath_parses() -> None:
    report = carcinoma().report
    collection = json.loads(geojson.dump(geojson.feature_collection(report, BOUNDS)))
    features = collection["features"]
    assert collection["type"] == "FeatureCollection"
    assert len(features) == len(report.evidence) + len(report.regions_of_interest)
    for feature in features:
        ring = feature["geometry"]["coordinates"][0]
        properties = feature["properties"]
        assert uuid.UUID(feature["id"])
        assert ring[0] == ring[-1] and len(ring) == 5
        assert properties["objectType"] == "annotation"
        assert len(properties["classification"]["color"]) == 3
        assert all(isinstance(v, int | float) for v in properties["measurements"].values())
        assert all(isinstance(v, str) for v in properties["metadata"].values())
    assert len({f["id"] for f in features}) == len(features)


def test_the_bounds_are_taken_off_and_come_back() -> None:
    report = carcinoma().report
    moved = geojson.feature_collection(report, {"S1": (200, 90)})
    region = report.evidence[0].region
    corner = moved["features"][0]["geometry"]["coordinates"][0][0]
    assert [corner[0] + 200, corner[1] + 90] == [region.x, region.y]


def test_ids_follow_the_content() -> None:
    def ids(report: Report) -> list[str]:
        return [f["id"] for f in geojson.feature_collection(report, BOUNDS)["features"]]

    first, again = carcinoma().report, carcinoma().report
    assert ids(first) == ids(again)
    changed = first.model_copy(update={"evidence": (evidence(1, sentence="Another."), *first.evidence[1:])})
    assert ids(changed)[0] != ids(first)[0]
    assert ids(changed)[1:] == ids(first)[1:]


def test_classes_are_qupaths_own_and_undescribed_looks_have_none_of_tissue() -> None:
    described = geojson.feature_collection(carcinoma().report, BOUNDS)["features"]
    assert described[0]["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
    undescribed = geojson.feature_collection(out_of_domain().report, BOUNDS)["features"]
    assert {f["properties"]["classification"]["name"] for f in undescribed} == {"Region*"}


def test_numbers_that_json_cannot_hold_become_strings(tmp_path: Path) -> None:
    odd = evidence(1, measurements=(measurement(value=float("nan")),))
    report = carcinoma(evidence=(odd,)).report
    text = geojson.dump(geojson.feature_collection(report, BOUNDS))
    (tmp_path / "regions.geojson").write_text(text)
    feature = json.loads((tmp_path / "regions.geojson").read_text(), parse_constant=lambda _: None)
    assert feature["features"][0]["properties"]["measurements"]["nuclei_per_mm2"] == "NaN"
