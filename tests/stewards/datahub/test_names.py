"""URNs of tables and topics, beside those that DataHub's own sources make for them."""

from __future__ import annotations

import warnings

import pytest

from ontology.dataset_names import DataName, Store, of_openlineage
from ontology.ids import Ids

with warnings.catch_warnings():
    # What DataHub's own modules warn of when they are imported is theirs to mend.
    warnings.simplefilter("ignore")
    from fractalops_datahub.config import FractalOpsConfig, StoreMapping
    from fractalops_datahub.names import MOST, Names

IDS = Ids("http://fractalops.localhost")


def names(**config: object) -> Names:
    return Names(FractalOpsConfig.model_validate({"server": "http://x", "token": "t", **config}))


@pytest.mark.parametrize(
    ("namespace", "name", "urn"),
    [
        ("postgres://db:5432", "shop.public.orders", "postgres,shop.public.orders"),
        ("postgres://db:5432", "shop.sales.orders", "postgres,shop.sales.orders"),
        ("mysql://db:3306", "shop.orders", "mysql,shop.orders"),
        ("sqlserver://db:1433", "shop.dbo.orders", "mssql,shop.dbo.orders"),
        ("redshift://c.r:5439", "shop.public.orders", "redshift,shop.public.orders"),
        ("snowflake://org-acc", "SHOP.PUBLIC.ORDERS", "snowflake,shop.public.orders"),
        ("bigquery", "project.set.orders", "bigquery,project.set.orders"),
        ("hive://meta:9083", "sales.orders", "hive,sales.orders"),
        ("mongodb://db:27017", "shop.orders", "mongodb,shop.orders"),
        ("kafka://bus:9092", "orders", "kafka,orders"),
        ("s3://lake", "raw/orders", "s3,lake/raw/orders"),
        ("gs://lake", "raw/orders", "gcs,lake/raw/orders"),
        ("arn:aws:glue:eu:1", "table/sales/orders", "glue,sales.orders"),
    ],
)
def test_a_dataset_of_openlineage_has_the_urn_that_its_platform_s_source_gives_it(
    namespace: str, name: str, urn: str
) -> None:
    found = of_openlineage(namespace, name)
    assert found is not None
    asset = names().asset(found.iri(IDS, "shop"))
    assert asset.urn == f"urn:li:dataset:(urn:li:dataPlatform:{urn},PROD)"


def test_a_recipe_maps_stores_to_platforms_instances_and_environments() -> None:
    mapped = names(
        env="DEV",
        stores=[
            {"system": "postgresql", "address": "db.shop*", "platform_instance": "shop"},
            {"system": "postgresql", "platform": "alloydb", "env": "QA", "lowercase": True},
            {"address": "project:*", "primary": False},
        ],
    )
    first = DataName("dataset", Store("postgresql", "db.shop:6432", "shop"), "Orders")
    other = DataName("dataset", Store("postgresql", "db.bank", "bank"), "Accounts")
    local = DataName("dataset", Store("sqlite", "", "carts.db"), "carts")
    platform = "urn:li:dataset:(urn:li:dataPlatform:"
    assert mapped.asset(first.iri(IDS, "x")).urn == (
        f"{platform}postgres,shop.shop.public.Orders,DEV)"
    )
    assert mapped.asset(other.iri(IDS, "x")).urn == f"{platform}alloydb,bank.public.accounts,QA)"
    kept = mapped.asset(local.iri(IDS, "shop"))
    assert kept.urn == f"{platform}sqlite,shop.carts.db.carts,DEV)"
    assert (kept.instance, kept.primary) == ("shop", False)
    assert StoreMapping().fits("kafka", "bus")


@pytest.mark.parametrize("kind", ["dataset", "topic"])
def test_a_column_is_known_by_its_asset(kind: str) -> None:
    system, namespace = ("kafka", "") if kind == "topic" else ("postgresql", "a/b")
    asset = DataName("topic" if kind == "topic" else "dataset", Store(system, "h", namespace), "t")
    column = asset.column(IDS, "shop", "sum (net)/gross")
    assert names().column(column) == (asset.iri(IDS, "shop"), "sum (net)/gross")


def test_services_and_jobs_never_meet_and_no_urn_is_too_long_for_datahub() -> None:
    made = names()
    service, job = IDS.service("shop", "cart"), IDS.job("shop", "cart", "load")
    assert made.flow(service) != made.flow(job)
    operation = IDS.operation("shop", "cart", "http", "GET /" + "x" * 2000)
    assert len(made.job(operation)) <= MOST
    assert made.job(operation) == names().job(operation)
    assert made.job(operation).startswith(f"urn:li:dataJob:({made.flow(service)},")
    assert made.affected(IDS.feature("shop", "basket")) is None
    assert made.job(IDS.job("shop", "", "load")).endswith(",load)")


def test_a_token_is_never_shown() -> None:
    config = FractalOpsConfig.model_validate({"server": "http://x/", "token": "fot_secret"})
    assert "fot_secret" not in repr(config) + str(config)
    assert config.server == "http://x"
    with pytest.raises(ValueError, match="begins with http"):
        FractalOpsConfig.model_validate({"server": "x", "token": "t"})
