"""Every shape lets the sound through and stops the unsound, with a message that helps.

The tables say both: a document that conforms, and for each property shape a document that does not,
with the name of the shape that must speak.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from pyoxigraph import Literal, NamedNode, RdfFormat, Triple, parse, serialize

from ontology.library import ontology_turtle, rules_turtle
from ontology.vocab import FO, FOS, PREFIXES, Fo, Owl, Rdf, Rdfs, Sh
from shapes.library import shapes_turtle
from shapes.model import Query
from shapes.parse import read_shapes
from shapes.reference import ReferenceShapes
from shapes.report import Result

HEADER = "".join(f"@prefix {p}: <{n}> .\n" for p, n in PREFIXES.items())
HEADER += "@prefix ex: <http://example.org/> .\n"

KNOWN = """
ex:shop a fo:Project ; fo:slug "shop" ; fo:lineageGraph ex:graph .
ex:graph a fo:NamedGraph .
ex:acme a fo:Organisation ; fo:slug "acme" .
ex:web a fo:Service ; rdfs:label "web" ; fo:inProject ex:shop .
ex:orders a fo:Service ; rdfs:label "orders" ; fo:inProject ex:shop .
ex:route a fo:HttpRoute ; rdfs:label "GET /orders" .
ex:method a fo:RpcMethod ; rdfs:label "shop.Orders/List" .
ex:store a fo:DataStore ; rdfs:label "postgresql shop" .
ex:table a fo:Dataset ; rdfs:label "orders" .
ex:queue a fo:Topic ; rdfs:label "shipping" .
ex:job a fo:Job ; rdfs:label "nightly" .
ex:run a fo:Run ; fo:runOf ex:job .
ex:feature a fo:Feature ; rdfs:label "checkout" ; fo:inProject ex:shop .
ex:page a fo:Page ; rdfs:label "basket" ; fo:inProject ex:shop .
ex:release a fo:Release ; rdfs:label "web 1.0" ; fo:version "1.0" .
ex:production a fo:DeploymentEnvironment ; rdfs:label "production" .
ex:ann a fo:Person ; fo:slug "ann" .
ex:bot a fo:Steward ; fo:slug "bot" .
ex:public a fo:PublicUrl ; fo:url "https://shop.example.org/"^^xsd:anyURI ;
    fo:authority "shop.example.org" .
ex:executor a fo:ExecutorUrl ; fo:url "http://10.0.0.7:8080/"^^xsd:anyURI ;
    fo:authority "10.0.0.7:8080" .
ex:internal a fo:InternalUrl ; fo:url "http://web.shop.svc:8080/"^^xsd:anyURI ;
    fo:authority "web.shop.svc:8080" .
ex:exclusive a fo:AssetRole ; fo:roleName "scheduler" ; fo:exclusive true .
ex:held a fo:LxcAsset ; fo:assetId "holder" ; fo:ownedBy ex:ann ; fo:locatorVmid 900 ;
    fo:assetRole "scheduler" , "shared" ; fo:inEnvironment ex:production .
ex:endpoint a fo:IntegrationEndpoint ; fo:endpointId "nexus" ; fo:ownedBy ex:acme ;
    fo:authScheme "none" ; fo:readinessPath "/" ; fo:internalUrl ex:internal .
"""


def triples_of(data: bytes) -> list[Triple]:
    parsed = parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True)
    return [quad.triple for quad in parsed]


def ntriples(triples: list[Triple]) -> bytes:
    data = serialize(triples, format=RdfFormat.N_TRIPLES)
    assert data is not None
    return data


SHAPES = [t for data in shapes_turtle().values() for t in triples_of(data)]
SHIPPED = [t for d in {**ontology_turtle(), **rules_turtle()}.values() for t in triples_of(d)]
HIERARCHY = [t for t in SHIPPED if t.predicate.value == Rdfs.subClassOf]
ROUTE = [t for t in SHIPPED if t.subject == NamedNode(Fo.HttpRoute)]


WITH_QUERIES = {t.subject for t in SHAPES if t.predicate.value == Sh.sparql}


@cache
def shapes(queries: bool = True) -> ReferenceShapes:
    kept = [t for t in SHAPES if queries or t.subject not in WITH_QUERIES]
    return ReferenceShapes(ntriples(kept))


def results(turtle: str, *, queries: bool = True) -> list[Result]:
    """Results for what the document adds to what is known. ``queries`` says whether the shapes with
    SPARQL are asked: pySHACL parses it anew for every node, which takes longer than all else."""
    added = triples_of((HEADER + turtle).encode())
    known = triples_of((HEADER + KNOWN).encode())
    foci = sorted({str(t.subject) for t in added if isinstance(t.subject, NamedNode)})
    data = ntriples([*HIERARCHY, *ROUTE, *known, *added])
    return list(shapes(queries).run(data, foci).results)


def test_what_is_known_conforms() -> None:
    data = ntriples([*HIERARCHY, *ROUTE, *triples_of((HEADER + KNOWN).encode())])
    assert shapes().run(data).results == ()


def test_the_shipped_ontology_and_rules_conform() -> None:
    assert shapes().run(ntriples(SHIPPED)).results == ()


def test_the_shapes_are_well_formed() -> None:
    shapes().check()


OWNED = "ex:x fo:ownedBy ex:acme ;"
LXC = f'{OWNED} a fo:LxcAsset ; fo:assetId "x" ; fo:locatorVmid 1'
KUBERNETES = f"""{OWNED} a fo:KubernetesAsset ; fo:assetId "x" ; fo:locatorNamespace "n" ;
    fo:locatorWorkload "deployment/x" """
COMMAND = 'ex:x a fo:PermittedCommand ; fo:effect "reads"'
REQUEST = 'ex:x a fo:PermittedRequest ; fo:effect "reads" ; fo:requestMethod "GET"'
BARE_ENDPOINT = f'{OWNED} a fo:IntegrationEndpoint ; fo:endpointId "x" ; fo:readinessPath "/"'
ENDPOINT = f'{BARE_ENDPOINT} ; fo:authScheme "none" ; fo:internalUrl ex:internal'


def address(kind: str, url: str, authority: str) -> str:
    return f'ex:x a fo:{kind} ; fo:url "{url}"^^xsd:anyURI ; fo:authority "{authority}" .'


SOUND = {
    "service": 'ex:x a fo:Service ; rdfs:label "x" ; fo:inProject ex:shop .',
    "service in full": """ex:x a fo:Service ; rdfs:label "x"@en , "ix"@fr ; skos:notation "x-svc" ;
        fo:inProject ex:shop ; fo:calls ex:web , ex:x ; fo:offers ex:route ; fo:performs ex:call ;
        fo:runsIn ex:production ; fo:hasRelease ex:release .
        ex:call a fo:HttpCall ; rdfs:label "GET orders" ; fo:callsOperation ex:route .""",
    "own triples beside ours": """ex:x a fo:Service , ex:Kind ; rdfs:label "x" ;
        fo:inProject ex:shop ; ex:tier 1 ; rdfs:comment "kept" ; rdfs:seeAlso ex:wiki .""",
    "route": """ex:x a fo:HttpRoute ; rdfs:label "GET /x" ; fo:httpMethod "GET" ; fo:route "/x" ;
        fo:invokes ex:y . ex:y a fo:InternalOperation ; rdfs:label "y" .""",
    "route of an odd method": 'ex:x a fo:HttpRoute ; rdfs:label "x" ; fo:httpMethod "_OTHER" .',
    "rpc call": 'ex:x a fo:RpcCall ; rdfs:label "x" ; fo:callsOperation ex:method .',
    "http call that arrives at rpc": """ex:x a fo:HttpCall ; rdfs:label "x" ;
        fo:callsOperation ex:method .""",
    "database operation": """ex:x a fo:DatabaseOperation ; rdfs:label "SELECT orders" ;
        fo:system "postgresql" ; fo:reads ex:table ; fo:writes ex:table .""",
    "publish": 'ex:x a fo:PublishOperation ; rdfs:label "x" ; fo:writes ex:queue .',
    "consume": 'ex:x a fo:ConsumeOperation ; rdfs:label "x" ; fo:reads ex:queue .',
    "dependency": """ex:x a fo:Dependency ; fo:caller ex:web ; fo:callee ex:orders ;
        fo:via ex:route .""",
    "data store": """ex:x a fo:DataStore ; rdfs:label "x" ; fo:system "postgresql" ;
        fo:namespace "shop" ; fo:address "db.example.org:5433" .""",
    "dataset": """ex:x a fo:Dataset ; rdfs:label "x" ; fo:storedIn ex:store ;
        fo:derivedFrom ex:table , ex:queue .""",
    "topic": 'ex:x a fo:Topic ; rdfs:label "x" ; fo:system "rabbitmq" .',
    "job and run": """ex:x a fo:Job ; rdfs:label "x" ; fo:inProject ex:shop ; fo:namespace "etl" ;
        fo:reads ex:table ; fo:writes ex:queue ; fo:parentJob ex:job .
        ex:r a fo:Run ; fo:runOf ex:x ; fo:parentRun ex:run ;
        prov:startedAtTime "2026-11-01T10:00:00Z"^^xsd:dateTime .""",
    "product": """ex:x a fo:ProductEventType ; rdfs:label "bought" ; fo:inProject ex:shop ;
        fo:concernsFeature ex:feature ; fo:onPage ex:page ; fo:reaches ex:route .
        ex:f a fo:Feature ; rdfs:label "f" ; fo:inProject ex:shop ; fo:onPage ex:page .
        ex:p a fo:Page ; rdfs:label "p" ; fo:inProject ex:shop ; fo:path "/p/{id}" .""",
    "error issue": """ex:x a fo:ErrorIssue ; rdfs:label "x" ; fo:inProject ex:shop ;
        fo:affects ex:web , ex:route , ex:feature ; fo:seenInRelease ex:release ;
        fo:errorType "TimeoutError" ; fo:culprit "shop.orders in place" .""",
    "dormant": """ex:web fo:dormantSince "2026-10-20T00:00:00Z"^^xsd:dateTime .
        ex:queue fo:dormantSince "2026-10-20T00:00:00Z"^^xsd:dateTime .
        ex:route fo:dormantSince "2026-10-21T00:00:00Z"^^xsd:dateTime .""",
    "evidence": f"""ex:x a fo:EvidenceBatch ; fo:digest "sha256:{"0a" * 32}" ;
        fo:receivedAt "2026-11-01T10:00:00Z"^^xsd:dateTime .""",
    "lxc": """ex:x a fo:LxcAsset ; fo:assetId "web-1" ; fo:assetRole "shop_web" , "shared" ;
        fo:ownedBy ex:acme ; fo:inProject ex:shop ; fo:inEnvironment ex:production ;
        fo:locatorVmid 104 ; fo:locatorNode "node-a" ; fo:hosts ex:web , ex:store ;
        fo:publicUrl ex:public ; fo:declaredIn "main" ;
        fo:executorUrl ex:executor ; fo:internalUrl ex:internal .""",
    "lxc by name": f"""{OWNED} a fo:LxcAsset ; fo:assetId "web-1" ; fo:locatorContainer "web" .""",
    "kubernetes": f"""{OWNED} a fo:KubernetesAsset ; fo:assetId "web-2" ;
        fo:locatorNamespace "shop" ;
        fo:locatorWorkload "deployment/web" ; fo:locatorCluster "main" ;
        fo:locatorContainer "app" .""",
    "an asset called for what it is for": f"""{OWNED} a fo:KubernetesAsset ;
        fo:assetId "storefront" ; fo:locatorNamespace "shop" ;
        fo:locatorWorkload "deployment/storefront" .""",
    "an exclusive role elsewhere": f"""{LXC} ; fo:assetRole "scheduler" ;
        fo:inEnvironment ex:staging .
        ex:staging a fo:DeploymentEnvironment ; rdfs:label "staging" .""",
    "status": f"""{LXC} ; fo:assetStatus "running" ; fo:statusEvidence ex:evidence ;
        fo:statusSince "2026-11-01T10:00:00Z"^^xsd:dateTime .""",
    "permitted actions": f"""{LXC} ; fo:capability "run" , "request" ; fo:permits ex:a , ex:b .
        ex:a a fo:PermittedCommand ; fo:effect "reads" ;
            fo:argvPattern "[\\"python\\",\\"-V\\",\\"a \\\\\\"*\\\\\\"\\"]" .
        ex:b a fo:PermittedRequest ; fo:effect "changes" ; fo:requestMethod "POST" , "PUT" ;
            fo:pathPattern "/jobs/*" .""",
    "integration endpoint": """ex:x a fo:IntegrationEndpoint ; fo:endpointId "penpot" ;
        rdfs:label "Penpot" ; fo:product "penpot" ; fo:ownedBy ex:acme ; fo:publicUrl ex:public ;
        fo:authScheme "bearer" ; fo:authReference "bao://kv/penpot#token" ;
        fo:readinessPath "/api/health" ; fo:inEnvironment ex:production .""",
    "addresses": """ex:x a fo:PublicUrl ; fo:url "https://Shop2.Example.org:443/a?b#c"^^xsd:anyURI ;
        fo:authority "shop2.example.org" .
        ex:y a fo:InternalUrl ; fo:url "http://[fd00::7]:8080"^^xsd:anyURI ;
        fo:authority "[fd00::7]:8080" .
        ex:z a fo:ExecutorUrl ; fo:url "http://web.shop.svc:8080/control"^^xsd:anyURI ;
        fo:authority "web.shop.svc:8080" .""",
    "organisation": """ex:x a fo:Organisation ; fo:slug "x" ; rdfs:label "X" ;
        fo:timeLock "PT24H"^^xsd:duration .""",
    "organisation as the store keeps it": """ex:x a fo:Organisation ; fo:slug "x" ;
        fo:timeLock "P1D"^^xsd:dayTimeDuration .""",
    "project": """ex:x a fo:Project ; fo:slug "x-1" ; rdfs:label "X" ; fo:ownedBy ex:acme ;
        fo:lineageGraph ex:g . ex:g a fo:NamedGraph ; fo:restricted true .""",
    "principals": """ex:x a fo:Person ; fo:slug "x" ; fo:memberOf ex:acme ;
        fo:hasRole fo:OperatorRole . ex:y a fo:ServiceAccount ; fo:slug "y" .
        ex:z a fo:Steward ; fo:slug "z" ; fo:stewardOf ex:shop ; fo:hasRole fo:StewardRole .""",
    "grant": """ex:x a fo:Grant ; fo:grantee ex:bot ; fo:onProject ex:shop ; fo:onGraph ex:graph ;
        fo:autoApplyLimit 0 .""",
    "control grants": """ex:x a fo:ControlGrant ; fo:grantee ex:bot ; fo:onAsset ex:held .
        ex:y a fo:ControlGrant ; rdfs:label "y" ; fo:grantee ex:ann ; fo:onAssetRole "shared" ;
        fo:autoApprove true .""",
    "signing key": """ex:x a fo:SigningKey ; fo:keyHolder ex:bot ;
        fo:publicKey "example.org/bot+0a1b2c3d+AaIwmhMhzBR6IdtH7Ss73smjXTRjAcuoe9KANmEhcDVo" .
        ex:y a fo:SigningKey ; rdfs:label "old" ; fo:keyHolder ex:bot ; fo:retired true ;
        fo:publicKey "bot+0a1b2c3d+AaIwmhMhzBR6IdtH7Ss73smjXTRjAcuoe9KANmEhcDVo" .""",
    "rule": """ex:x a fo:ClassificationRule ; rdfs:label "x" ; fo:source "otel.span" ;
        fo:priority 5 ; fo:classifiesAs fo:HttpRoute ; fo:operationKind "http-call" ;
        fo:nameTemplate "a {b.c|d} e" ; fo:whenKind "server" ; fo:whenAttribute "a.b|c" ;
        fo:whenAttributeEquals "a|b=c d|e" .""",
    "redaction rules": """ex:x a fo:RedactionRule ; rdfs:label "x" ; fo:priority 5 ;
        fo:keyPattern "enduser[.].*" ; fo:whenKind "server" , "log" ; fo:replacement "[gone]" .
        ex:y a fo:RedactionRule ; rdfs:label "y" ; fo:priority 6 ;
        fo:valuePattern "[0-9]{16}" ; fo:checkedBy "payment-card" ; fo:replacement "[card]" .""",
    "rule of a product": """ex:x a fo:ClassificationRule ; rdfs:label "x" ;
        fo:source "posthog.event" ; fo:priority 5 ; fo:classifiesAs fo:HttpRoute ;
        fo:subjectKind "page" ; fo:nameTemplate "{$pathname}" ; fo:isFallback true ;
        fo:whenName "$pageview" , "$*" , "*" , "a b" .""",
    "rule of an error": """ex:x a fo:ClassificationRule ; rdfs:label "x" ;
        fo:source "sentry.event" ; fo:priority 5 ; fo:classifiesAs fo:HttpRoute ;
        fo:subjectKind "error-issue" ; fo:nameTemplate "{error.issue}" ; fo:whenKind "error" .""",
    "column derivation": """ex:y a fo:Column ; rdfs:label "y" ; fo:columnOf ex:table .
        ex:x a fo:ColumnDerivation ; rdfs:label "x" ; fo:derivedColumn ex:y ;
        fo:sourceColumn ex:y ; fo:influence "direct" , "indirect" ;
        fo:transformation "AGGREGATION" , "FILTER" ; fo:masks false .""",
    "conflict": """ex:claim1 a fo:SourceClaim ; fo:source "otel.span" ; fo:claims "reads" .
        ex:claim2 a fo:SourceClaim ; rdfs:label "y" ; fo:source "openlineage.event" ;
        fo:claims "writes" ; fo:claimedBy ex:job ; fo:shownBy ex:batch .
        ex:x a fo:Conflict ; rdfs:label "x" ; fo:inProject ex:shop ; fo:conflictKind "access" ;
        fo:disputes ex:table ; fo:hasClaim ex:claim1 , ex:claim2 .""",
    "a term of one's own": 'ex:Team a owl:Class ; rdfs:label "Team" .',
    "an anonymous class": "[] a owl:Class ; owl:unionOf ( ex:A ex:B ) .",
    "an anonymous class as the graph keeps it": """
        <http://fractalops.localhost/.well-known/genid/0a> a owl:Class ;
        owl:unionOf <http://fractalops.localhost/.well-known/genid/0b> .""",
}


@pytest.mark.parametrize("case", SOUND)
def test_the_sound_passes(case: str) -> None:
    assert results(SOUND[case]) == []


SERVICE = 'ex:x a fo:Service ; rdfs:label "x" ; fo:inProject ex:shop'
OPERATION = 'ex:x a fo:InternalOperation ; rdfs:label "x"'
DATASET = 'ex:x a fo:Dataset ; rdfs:label "x"'
DEPENDENCY = "ex:x a fo:Dependency ; fo:caller ex:web ; fo:callee ex:orders"
PAGE = 'ex:x a fo:Page ; rdfs:label "x" ; fo:inProject ex:shop'
EVENT_TYPE = 'ex:x a fo:ProductEventType ; rdfs:label "x" ; fo:inProject ex:shop'
ISSUE = 'ex:x a fo:ErrorIssue ; rdfs:label "x" ; fo:inProject ex:shop'
DERIVATION = """ex:x a fo:ColumnDerivation ; rdfs:label "x" ; fo:derivedColumn ex:column ;
    fo:sourceColumn ex:column ; fo:influence "direct" """
CLAIM = 'ex:claim1 a fo:SourceClaim ; fo:source "otel.span" ; fo:claims "reads"'
CLAIMS = f"""{CLAIM} . ex:claim2 a fo:SourceClaim ; fo:source "openlineage.event" ;
    fo:claims "writes" . """
CONFLICT = f"""{CLAIMS} ex:x a fo:Conflict ; rdfs:label "x" ; fo:inProject ex:shop """
DISPUTE = """ ; fo:conflictKind "access" ; fo:disputes ex:table ;
    fo:hasClaim ex:claim1 , ex:claim2 """
COLUMN = 'ex:x a fo:Column ; rdfs:label "x" ; fo:columnOf ex:table'
JOB = 'ex:x a fo:Job ; rdfs:label "x"'
RUN = "ex:x a fo:Run ; fo:runOf ex:job"
EVIDENCE = f'ex:x a fo:EvidenceBatch ; fo:digest "sha256:{"0a" * 32}"'
PERSON = 'ex:x a fo:Person ; fo:slug "x"'
GRANT = "ex:x a fo:Grant ; fo:grantee ex:bot ; fo:onGraph ex:graph"
CONTROL = "ex:x a fo:ControlGrant ; fo:grantee ex:bot"
PUBLIC_KEY = 'fo:publicKey "bot+0a1b2c3d+AaIwmhMhzBR6IdtH7Ss73smjXTRjAcuoe9KANmEhcDVo"'
KEY = f"ex:x a fo:SigningKey ; fo:keyHolder ex:bot ; {PUBLIC_KEY}"
RULE = """ex:x a fo:ClassificationRule ; rdfs:label "x" ; fo:source "otel.span" ; fo:priority 5 ;
    fo:classifiesAs fo:HttpRoute ; fo:operationKind "http" ; fo:nameTemplate "x" """
REDACTION = """ex:x a fo:RedactionRule ; rdfs:label "x" ; fo:priority 5 ;
    fo:replacement "[redacted]" """


def rule_with(property_: str, value: str) -> str:
    """The rule with one statement replaced, or left out where the value is empty."""
    statements = [s for s in RULE.split(" ; ") if not s.strip().startswith(property_)]
    return " ;".join([*statements, *([f"{property_} {value}"] if value else [])]) + " ."


# (the shape that must speak, the document)
UNSOUND = [
    ("label", "ex:x a fo:Service ; fo:inProject ex:shop ."),
    ("label", "ex:x a fo:Service ; rdfs:label 5 ; fo:inProject ex:shop ."),
    ("label", 'ex:x a fo:Service ; rdfs:label " " ; fo:inProject ex:shop .'),
    ("label", "ex:x a fo:Topic ; rdfs:label ex:name ."),
    ("optional-label", f"{DEPENDENCY} ; rdfs:label 5 ."),
    ("notation", f"{SERVICE} ; skos:notation 5 ."),
    ("project", 'ex:x a fo:Service ; rdfs:label "x" .'),
    ("project", 'ex:x a fo:Service ; rdfs:label "x" ; fo:inProject "shop" .'),
    ("project", 'ex:x a fo:Service ; rdfs:label "x" ; fo:inProject ex:unknown .'),
    (
        "project",
        f'{SERVICE} , ex:p2 . ex:p2 a fo:Project ; fo:slug "p" ; fo:lineageGraph ex:graph .',
    ),
    ("optional-project", f"{OPERATION} ; fo:inProject ex:web ."),
    ("system", f'{DATASET} ; fo:system "a" , "b" .'),
    ("namespace", f"{DATASET} ; fo:namespace 5 ."),
    ("not-offeredBy", f"{OPERATION} ; fo:offeredBy ex:web ."),
    ("not-performedBy", f"{OPERATION} ; fo:performedBy ex:web ."),
    ("not-calledBy", f"{SERVICE} ; fo:calledBy ex:web ."),
    ("not-stores", 'ex:x a fo:DataStore ; rdfs:label "x" ; fo:stores ex:table .'),
    ("not-hostedOn", f"{SERVICE} ; fo:hostedOn ex:y ."),
    ("Service-calls", f'{SERVICE} ; fo:calls "orders" .'),
    ("Service-calls", f"{SERVICE} ; fo:calls ex:route ."),
    ("Service-offers", f"{SERVICE} ; fo:offers ex:table ."),
    ("Service-performs", f"{SERVICE} ; fo:performs ex:unknown ."),
    ("Service-runsAs", f'{SERVICE} ; fo:runsAs "deployment/web" .'),
    ("Service-runsIn", f'{SERVICE} ; fo:runsIn "production" .'),
    ("Service-hasRelease", f'{SERVICE} ; fo:hasRelease "1.0" .'),
    ("only-of-services", "ex:x fo:calls ex:web ."),
    ("Operation-invokes", f"{OPERATION} ; fo:invokes ex:web ."),
    ("Operation-reads", f"{OPERATION} ; fo:reads ex:store ."),
    ("Operation-writes", f'{OPERATION} ; fo:writes "orders" .'),
    ("only-of-operations", "ex:x fo:invokes ex:route ."),
    ("httpMethod", 'ex:x a fo:HttpCall ; rdfs:label "x" ; fo:httpMethod "GET /" .'),
    ("HttpRoute-route", 'ex:x a fo:HttpRoute ; rdfs:label "x" ; fo:route "/a" , "/b" .'),
    ("caller-operation", f"{OPERATION} ; fo:callsOperation ex:route ."),
    ("callsOperation", 'ex:x a fo:HttpCall ; rdfs:label "x" ; fo:callsOperation ex:web .'),
    (
        "DatabaseOperation-reads",
        'ex:x a fo:DatabaseOperation ; rdfs:label "x" ; fo:reads ex:queue .',
    ),
    (
        "DatabaseOperation-writes",
        'ex:x a fo:DatabaseOperation ; rdfs:label "x" ; fo:writes ex:queue .',
    ),
    ("PublishOperation-reads", 'ex:x a fo:PublishOperation ; rdfs:label "x" ; fo:reads ex:queue .'),
    (
        "PublishOperation-writes",
        'ex:x a fo:PublishOperation ; rdfs:label "x" ; fo:writes ex:table .',
    ),
    ("ConsumeOperation-reads", 'ex:x a fo:ConsumeOperation ; rdfs:label "x" ; fo:reads ex:table .'),
    (
        "ConsumeOperation-writes",
        'ex:x a fo:ConsumeOperation ; rdfs:label "x" ; fo:writes ex:queue .',
    ),
    ("Dependency-caller", "ex:x a fo:Dependency ; fo:callee ex:orders ."),
    ("Dependency-callee", "ex:x a fo:Dependency ; fo:caller ex:web ."),
    ("Dependency-callee", f"{DEPENDENCY} , ex:web ."),
    ("Dependency-via", f"{DEPENDENCY} ; fo:via ex:orders ."),
    ("only-of-dependencies", "ex:x fo:caller ex:web ; fo:callee ex:orders ."),
    ("label", "ex:x a fo:DeploymentEnvironment ."),
    ("Release-version", 'ex:x a fo:Release ; rdfs:label "x" .'),
    ("Release-version", 'ex:x a fo:Release ; rdfs:label "x" ; fo:version 1.0 .'),
    (
        "Release-revision",
        'ex:x a fo:Release ; rdfs:label "x" ; fo:version "1" ; fo:revision ex:commit .',
    ),
    ("DataStore-address", 'ex:x a fo:DataStore ; rdfs:label "x" ; fo:address ex:host .'),
    ("DataAsset", 'ex:x a fo:DataAsset ; rdfs:label "x" .'),
    ("DataAsset-storedIn", f"{DATASET} ; fo:storedIn ex:orders ."),
    ("DataAsset-derivedFrom", f"{DATASET} ; fo:derivedFrom ex:job ."),
    ("Column-columnOf", 'ex:x a fo:Column ; rdfs:label "x" .'),
    ("Column-derivedFromColumn", f"{COLUMN} ; fo:derivedFromColumn ex:table ."),
    ("only-of-columns", "ex:x fo:columnOf ex:table ."),
    ("only-of-data-assets", "ex:x fo:storedIn ex:store ."),
    ("only-of-operations-and-jobs", f"{SERVICE} ; fo:writes ex:table ."),
    ("ColumnDerivation-derivedColumn", f"{DERIVATION} ; fo:derivedColumn ex:table ."),
    ("ColumnDerivation-sourceColumn", f"{DERIVATION} ; fo:sourceColumn ex:table ."),
    ("ColumnDerivation-influence", f'{DERIVATION} ; fo:influence "strong" .'),
    ("ColumnDerivation-transformation", f"{DERIVATION} ; fo:transformation 7 ."),
    ("ColumnDerivation-masks", f'{DERIVATION} ; fo:masks "yes" .'),
    ("Conflict-conflictKind", f'{CONFLICT} {DISPUTE} ; fo:conflictKind "quarrel" .'),
    ("Conflict-disputes", f"{CONFLICT} {DISPUTE} ; fo:disputes ex:web ."),
    (
        "Conflict-hasClaim",
        f"""{CONFLICT} ; fo:conflictKind "type" ; fo:disputes ex:table ; fo:hasClaim ex:claim1 .""",
    ),
    ("SourceClaim-claims", 'ex:x a fo:SourceClaim ; fo:source "otel.span" .'),
    ("SourceClaim-claimedBy", f"{CLAIM} ; fo:claimedBy ex:table ."),
    ("SourceClaim-source", 'ex:x a fo:SourceClaim ; fo:claims "reads" ; fo:source "a span" .'),
    ("SourceClaim-shownBy", f'{CLAIM} ; fo:shownBy "sha256:0a" .'),
    ("Job-reads", f"{JOB} ; fo:reads ex:web ."),
    ("Job-writes", f"{JOB} ; fo:writes ex:store ."),
    ("Job-parentJob", f"{JOB} ; fo:parentJob ex:run ."),
    ("Run-runOf", "ex:x a fo:Run ."),
    ("Run-parentRun", f"{RUN} ; fo:parentRun ex:job ."),
    ("Run-startedAtTime", f'{RUN} ; prov:startedAtTime "yesterday" .'),
    ("Run-endedAtTime", f'{RUN} ; prov:endedAtTime "2026-11-01"^^xsd:date .'),
    ("ProductEventType-concernsFeature", f"{EVENT_TYPE} ; fo:concernsFeature ex:page ."),
    ("onPage", f'{EVENT_TYPE} ; fo:onPage "/basket" .'),
    ("reaches", f"{PAGE} ; fo:reaches ex:web ."),
    ("Page-path", f'{PAGE} ; fo:path "/basket?user=7" .'),
    ("ErrorIssue-affects", f"{ISSUE} ; fo:affects ex:table ."),
    ("ErrorIssue-seenInRelease", f'{ISSUE} ; fo:seenInRelease "1.0" .'),
    ("ErrorIssue-errorType", f"{ISSUE} ; fo:errorType 500 ."),
    ("ErrorIssue-culprit", f'{ISSUE} ; fo:culprit "a" , "b" .'),
    ("only-of-what-is-seen", 'ex:ann fo:dormantSince "2026-10-20T00:00:00Z"^^xsd:dateTime .'),
    ("dormantSince", 'ex:web fo:dormantSince "2026-10-20"^^xsd:date .'),
    (
        "dormantSince",
        """ex:web fo:dormantSince "2026-10-20T00:00:00Z"^^xsd:dateTime ,
            "2026-10-21T00:00:00Z"^^xsd:dateTime .""",
    ),
    ("EvidenceBatch-digest", 'ex:x a fo:EvidenceBatch ; fo:digest "0a" .'),
    ("EvidenceBatch-receivedAt", f'{EVIDENCE} ; fo:receivedAt "now" .'),
    ("RuntimeAsset", 'ex:x a fo:RuntimeAsset ; fo:assetId "x" .'),
    ("RuntimeAsset-assetId", "ex:x a fo:LxcAsset ; fo:locatorVmid 1 ."),
    ("RuntimeAsset-assetId", "ex:x a fo:LxcAsset ; fo:assetId 104 ; fo:locatorVmid 104 ."),
    ("RuntimeAsset-assetId", 'ex:x a fo:LxcAsset ; fo:assetId "104" ; fo:locatorVmid 104 .'),
    ("owner", 'ex:x a fo:LxcAsset ; fo:assetId "x" ; fo:locatorVmid 1 .'),
    ("owner", f"{LXC} ; fo:ownedBy ex:ann ."),
    ("owner", 'ex:x a fo:LxcAsset ; fo:assetId "x" ; fo:locatorVmid 1 ; fo:ownedBy ex:web .'),
    ("environment", f'{LXC} ; fo:inEnvironment "production" .'),
    ("declaredIn", f'{LXC} ; fo:declaredIn "the main one" .'),
    ("one-asset-per-id", f"""{OWNED} a fo:LxcAsset ; fo:assetId "holder" ; fo:locatorVmid 1 ."""),
    ("exclusive-role", f'{LXC} ; fo:assetRole "scheduler" ; fo:inEnvironment ex:production .'),
    ("exclusive-role-somewhere", f'{LXC} ; fo:assetRole "scheduler" .'),
    *(
        ("locator-is-no-id", f'{OWNED} a fo:LxcAsset ; fo:assetId "{name}" ; {locator} .')
        for name, locator in (
            ("ct104", "fo:locatorVmid 104"),
            ("node-a.104", "fo:locatorVmid 104"),
            ("node-a", 'fo:locatorContainer "web" ; fo:locatorNode "node-a"'),
        )
    ),
    *(
        (
            "locator-is-no-id",
            f"""{OWNED} a fo:KubernetesAsset ; fo:assetId "{name}" ; fo:locatorNamespace "shop" ;
            fo:locatorCluster "main" ; fo:locatorWorkload "deployment/web" .""",
        )
        for name in ("shop", "Main", "shop-web", "main.shop.web", "shop-deployment-web", "web.shop")
    ),
    ("RuntimeAsset-capability", f'{LXC} ; fo:capability "Run anything" .'),
    ("RuntimeAsset-permits", f'{LXC} ; fo:permits "python -V" .'),
    ("RuntimeAsset-assetStatus", f'{LXC} ; fo:assetStatus "fine" .'),
    ("RuntimeAsset-statusSince", f'{LXC} ; fo:assetStatus "running" ; fo:statusSince "now" .'),
    ("RuntimeAsset-statusEvidence", f'{LXC} ; fo:statusEvidence "sha256:0a" .'),
    ("status-is-timed", f'{LXC} ; fo:assetStatus "running" .'),
    ("time-has-status", f"{LXC} ; fo:statusEvidence ex:evidence ."),
    ("AssetRole-roleName", "ex:x a fo:AssetRole ; fo:exclusive true ."),
    ("AssetRole-exclusive", 'ex:x a fo:AssetRole ; fo:roleName "x" ; fo:exclusive "yes" .'),
    ("only-of-asset-roles", f"{LXC} ; fo:exclusive true ."),
    ("PermittedAction", 'ex:x a fo:PermittedAction ; fo:effect "reads" .'),
    ("PermittedAction-effect", 'ex:x a fo:PermittedCommand ; fo:argvPattern "[\\"id\\"]" .'),
    *(
        ("PermittedCommand-argvPattern", f'{COMMAND} ; fo:argvPattern "{pattern}" .')
        for pattern in ("python -V", "[]", '[\\"*\\"]', '[\\"id\\", \\"-u\\"]', '[\\"id\\",7]')
    ),
    ("PermittedRequest-requestMethod", f'{REQUEST} , "FETCH" ; fo:pathPattern "/health" .'),
    ("PermittedRequest-pathPattern", f'{REQUEST} ; fo:pathPattern "health" .'),
    ("only-of-commands", f'{LXC} ; fo:argvPattern "[\\"id\\"]" .'),
    ("only-of-requests", f'{LXC} ; fo:requestMethod "GET" .'),
    ("only-of-permitted-actions", f'{LXC} ; fo:effect "reads" .'),
    ("only-of-assets-and-endpoints", "ex:web fo:publicUrl ex:public ."),
    ("IntegrationEndpoint", f'{BARE_ENDPOINT} ; fo:authScheme "none" .'),
    ("IntegrationEndpoint", f"{ENDPOINT} . {LXC} ."),
    ("only-of-runtime-assets", f"{ENDPOINT} ; fo:executorUrl ex:executor ."),
    (
        "IntegrationEndpoint-endpointId",
        """ex:x a fo:IntegrationEndpoint ; fo:authScheme "none" ; fo:readinessPath "/" ;
        fo:ownedBy ex:acme ; fo:internalUrl ex:internal .""",
    ),
    ("IntegrationEndpoint-product", f'{ENDPOINT} ; fo:product "Sonatype Nexus" .'),
    ("IntegrationEndpoint-authScheme", f"{BARE_ENDPOINT} ; fo:internalUrl ex:internal ."),
    ("IntegrationEndpoint-authReference", f'{ENDPOINT} ; fo:authReference "s3cr3t" .'),
    ("IntegrationEndpoint-readinessPath", f'{ENDPOINT} ; fo:readinessPath "health" .'),
    (
        "scheme-with-reference",
        f'{BARE_ENDPOINT} ; fo:internalUrl ex:internal ; fo:authScheme "bearer" .',
    ),
    ("scheme-with-reference", f'{ENDPOINT} ; fo:authReference "bao://kv/x" .'),
    ("only-of-integration-endpoints", f'{LXC} ; fo:readinessPath "/health" .'),
    (
        "one-endpoint-per-id",
        """ex:x fo:ownedBy ex:acme ; a fo:IntegrationEndpoint ;
        fo:endpointId "nexus" ; fo:authScheme "none" ; fo:internalUrl ex:internal .""",
    ),
    ("RuntimeAsset-assetRole", f'{LXC} ; fo:assetRole "the web server" .'),
    ("RuntimeAsset-hosts", f"{LXC} ; fo:hosts ex:route ."),
    ("publicUrl", f"{LXC} ; fo:publicUrl ex:executor ."),
    ("publicUrl", f'{LXC} ; fo:publicUrl "https://shop.example.org/" .'),
    ("RuntimeAsset-executorUrl", f"{LXC} ; fo:executorUrl ex:public ."),
    ("internalUrl", f"{LXC} ; fo:internalUrl ex:executor ."),
    ("only-of-runtime-assets", 'ex:x fo:assetRole "web" .'),
    ("LxcAsset", 'ex:x a fo:LxcAsset ; fo:assetId "x" .'),
    ("LxcAsset", f"{LXC} . {KUBERNETES} ."),
    ("locatorNode", f"{LXC} ; fo:locatorNode 7 ."),
    ("locatorVmid", 'ex:x a fo:LxcAsset ; fo:assetId "x" ; fo:locatorVmid "104" .'),
    ("locatorVmid", 'ex:x a fo:LxcAsset ; fo:assetId "x" ; fo:locatorVmid 0 .'),
    ("locatorContainer", f'{LXC} ; fo:locatorContainer "a" , "b" .'),
    ("LxcAsset-locatorCluster", f'{LXC} ; fo:locatorCluster "main" .'),
    ("LxcAsset-locatorNamespace", f'{LXC} ; fo:locatorNamespace "shop" .'),
    ("LxcAsset-locatorWorkload", f'{LXC} ; fo:locatorWorkload "deployment/x" .'),
    (
        "KubernetesAsset-locatorNamespace",
        'ex:x a fo:KubernetesAsset ; fo:assetId "x" ; fo:locatorWorkload "deployment/x" .',
    ),
    (
        "KubernetesAsset-locatorWorkload",
        """ex:x a fo:KubernetesAsset ; fo:assetId "x" ; fo:locatorNamespace "n" ;
        fo:locatorWorkload "web" .""",
    ),
    ("KubernetesAsset-locatorCluster", f"{KUBERNETES} ; fo:locatorCluster ex:main ."),
    ("KubernetesAsset-locatorNode", f'{KUBERNETES} ; fo:locatorNode "a" .'),
    ("KubernetesAsset-locatorVmid", f"{KUBERNETES} ; fo:locatorVmid 1 ."),
    ("PublicUrl", "ex:public a fo:ExecutorUrl ."),
    ("ExecutorUrl", "ex:executor a fo:InternalUrl ."),
    ("InternalUrl", "ex:internal a fo:PublicUrl ."),
    ("url", "ex:x a fo:PublicUrl ."),
    ("url", 'ex:x a fo:PublicUrl ; fo:url "https://shop.example.org/" .'),
    ("url", 'ex:x a fo:ExecutorUrl ; fo:url "https://ann:secret@10.0.0.7/"^^xsd:anyURI .'),
    *(
        ("PublicUrl-url", address("PublicUrl", f"https://{host}/", host))
        for host in (
            "localhost:8080",
            "web.shop.svc",
            "web.shop.svc.cluster.local:8080",
            "10.0.0.9",
            "192.168.1.7:8443",
            "172.20.0.2",
            "169.254.169.254",
            "127.1",
            "2130706433",
            "[::1]:8080",
            "[fd00::8]",
        )
    ),
    (
        "authority",
        'ex:x a fo:ExecutorUrl ; fo:url "http://Box/"^^xsd:anyURI ; fo:authority "Box" .',
    ),
    *(
        ("authority", f'ex:x a fo:{kind} ; fo:url "https://box.example.org/"^^xsd:anyURI .')
        for kind in ("PublicUrl", "ExecutorUrl", "InternalUrl")
    ),
    *(
        ("authority-of-the-address", address("ExecutorUrl", url, "box:8080"))
        for url in ("http://box/", "http://box:80/", "http://other:8080/", "http://box:8080.a/")
    ),
    *(
        (
            "public-apart",
            address("PublicUrl", url, authority) + f" ex:y a fo:{kind} ; fo:authority"
            f' "{authority}" ; fo:url "http://{authority}/control"^^xsd:anyURI .',
        )
        for kind in ("ExecutorUrl", "InternalUrl")
        for url, authority in (("https://a.example.org/x", "a.example.org"),)
    ),
    ("executor-apart", address("ExecutorUrl", "http://web.shop.svc:8080/", "web.shop.svc:8080")),
    ("only-of-urls", 'ex:x fo:url "https://shop.example.org/"^^xsd:anyURI .'),
    ("slug", "ex:x a fo:Person ."),
    ("slug", 'ex:x a fo:Person ; fo:slug "Ann" .'),
    ("slug", f'ex:x a fo:Organisation ; fo:slug "{"x" * 64}" .'),
    (
        "Organisation-approvalsNeeded",
        'ex:x a fo:Organisation ; fo:slug "x" ; fo:approvalsNeeded 0 .',
    ),
    (
        "Organisation-proposalLifetime",
        'ex:x a fo:Organisation ; fo:slug "x" ; fo:proposalLifetime "30 days" .',
    ),
    (
        "Organisation-timeLock",
        'ex:x a fo:Organisation ; fo:slug "x" ; fo:timeLock "24 hours" .',
    ),
    (
        "Organisation-timeLock",
        'ex:x a fo:Organisation ; fo:slug "x" ; fo:timeLock "P1M"^^xsd:duration .',
    ),
    (
        "Project-ownedBy",
        'ex:x a fo:Project ; fo:slug "x" ; fo:lineageGraph ex:graph ; fo:ownedBy ex:ann .',
    ),
    ("Project-lineageGraph", 'ex:x a fo:Project ; fo:slug "x" .'),
    ("Principal", 'ex:x a fo:Principal ; fo:slug "x" .'),
    ("Person", f"{PERSON} . ex:x a fo:Agent ."),
    ("Agent", 'ex:x a fo:Agent , fo:ServiceAccount ; fo:slug "x" .'),
    ("Steward-stewardOf", 'ex:x a fo:Steward ; fo:slug "x" ; fo:stewardOf "shop" .'),
    ("Principal-memberOf", f"{PERSON} ; fo:memberOf ex:shop ."),
    ("Principal-hasRole", f'{PERSON} ; fo:hasRole "operator" .'),
    ("Principal-hasRole", f"{PERSON} ; fo:hasRole ex:RootRole ."),
    ("only-of-principals", f"{SERVICE} ; fo:hasRole fo:OperatorRole ."),
    ("only-of-stewards", f"{PERSON} ; fo:stewardOf ex:shop ."),
    ("Grant-grantee", "ex:x a fo:Grant ; fo:onGraph ex:graph ."),
    ("Grant-grantee", "ex:x a fo:Grant ; fo:onGraph ex:graph ; fo:grantee ex:web ."),
    ("Grant-onProject", f"{GRANT} ; fo:onProject ex:graph ."),
    ("Grant-onGraph", "ex:x a fo:Grant ; fo:grantee ex:bot ."),
    ("Grant-autoApplyLimit", f"{GRANT} ; fo:autoApplyLimit -1 ."),
    ("Grant-autoApplyLimit", f'{GRANT} ; fo:autoApplyLimit "many" .'),
    ("only-of-grants", f"{SERVICE} ; fo:autoApplyLimit 9 ."),
    ("only-of-grants-of-any-kind", f"{SERVICE} ; fo:grantee ex:bot ."),
    ("Grant-grantee", 'ex:x a fo:ControlGrant ; fo:onAssetRole "shared" .'),
    ("ControlGrant", "ex:x a fo:ControlGrant ; fo:grantee ex:bot ."),
    ("ControlGrant", f'{CONTROL} ; fo:onAsset ex:held ; fo:onAssetRole "shared" .'),
    ("ControlGrant", f"{GRANT} ; a fo:ControlGrant ; fo:onAsset ex:held ."),
    ("ControlGrant-onAsset", f"{CONTROL} ; fo:onAsset ex:web ."),
    ("ControlGrant-onAsset", f"{CONTROL} ; fo:onAsset ex:endpoint ."),
    ("ControlGrant-onAssetRole", f'{CONTROL} ; fo:onAssetRole "all of them" .'),
    ("ControlGrant-onAssetRole", f'{CONTROL} ; fo:onAssetRole "one" , "two" .'),
    ("ControlGrant-autoApprove", f'{CONTROL} ; fo:onAsset ex:held ; fo:autoApprove "yes" .'),
    ("only-of-control-grants", f"{SERVICE} ; fo:onAsset ex:held ."),
    ("only-of-control-grants", f"{GRANT} ; fo:autoApprove true ."),
    ("SigningKey-keyHolder", f"ex:x a fo:SigningKey ; {PUBLIC_KEY} ."),
    ("SigningKey-keyHolder", f"ex:x a fo:SigningKey ; {PUBLIC_KEY} ; fo:keyHolder ex:ann ."),
    ("SigningKey-publicKey", "ex:x a fo:SigningKey ; fo:keyHolder ex:bot ."),
    ("SigningKey-publicKey", 'ex:x a fo:SigningKey ; fo:keyHolder ex:bot ; fo:publicKey "k" .'),
    ("SigningKey-retired", f"{KEY} ; fo:retired false ."),
    ("SigningKey-retired", f'{KEY} ; fo:retired "yes" .'),
    ("only-of-signing-keys", f"{SERVICE} ; fo:retired true ."),
    ("only-of-signing-keys", f"{SERVICE} ; fo:keyHolder ex:bot ."),
    ("NamedGraph-restricted", 'ex:x a fo:NamedGraph ; fo:restricted "yes" .'),
    ("only-of-named-graphs", "ex:x fo:restricted true ."),
    ("system-only", "ex:x a fo:Proposal ."),
    ("system-only", "ex:x a fo:Decision ; fo:decidedBy ex:ann ."),
    ("system-only", 'ex:x fo:state "applied" .'),
    ("system-only", "ex:x a fo:Order ."),
    ("system-only", "ex:x fo:concernsAsset ex:held ."),
    ("ClassificationRule-source", rule_with("fo:source", "")),
    ("ClassificationRule-priority", rule_with("fo:priority", '"high"')),
    ("ClassificationRule-classifiesAs", rule_with("fo:classifiesAs", "fo:Rout")),
    ("ClassificationRule-operationKind", rule_with("fo:operationKind", '"http call"')),
    ("ClassificationRule", rule_with("fo:operationKind", "")),
    ("ClassificationRule", rule_with("fo:subjectKind", '"page"')),
    ("ClassificationRule-subjectKind", rule_with("fo:subjectKind", '"feature"')),
    ("ClassificationRule-whenName", rule_with("fo:whenName", '"$*view"')),
    ("ClassificationRule-nameTemplate", rule_with("fo:nameTemplate", '"{http.route"')),
    ("ClassificationRule-isFallback", rule_with("fo:isFallback", '"yes"')),
    ("ClassificationRule-isFallback", rule_with("fo:isFallback", "true , false")),
    ("ClassificationRule-whenKind", rule_with("fo:whenKind", '"SERVER"')),
    ("ClassificationRule-whenAttribute", rule_with("fo:whenAttribute", '"a=b"')),
    ("ClassificationRule-whenAttributeEquals", rule_with("fo:whenAttributeEquals", '"a"')),
    ("RedactionRule", REDACTION + "."),
    ("RedactionRule-priority", f'{REDACTION} ; fo:keyPattern "a" ; fo:priority 6 .'),
    ("RedactionRule-keyPattern", f"{REDACTION} ; fo:keyPattern 5 ."),
    ("RedactionRule-valuePattern", f'{REDACTION} ; fo:valuePattern "a" , "b" .'),
    ("RedactionRule-valuePattern", f'{REDACTION} ; fo:valuePattern "{"a" * 4097}" .'),
    ("RedactionRule-checkedBy", f'{REDACTION} ; fo:valuePattern "a" ; fo:checkedBy "luck" .'),
    ("RedactionRule-replacement", f'{REDACTION} ; fo:keyPattern "a" ; fo:replacement "b" .'),
    ("ClassificationRule-whenKind", f'{REDACTION} ; fo:keyPattern "a" ; fo:whenKind "any" .'),
    ("Term", "ex:Team a owl:Class ."),
    ("OwnTerm", 'fo:Team a owl:Class ; rdfs:label "Team" .'),
]


@pytest.mark.parametrize(
    ("shape", "turtle"), UNSOUND, ids=[f"{n}-{shape}" for n, (shape, _) in enumerate(UNSOUND)]
)
def test_the_unsound_is_stopped_by_its_shape(shape: str, turtle: str) -> None:
    every = results(turtle, queries=NamedNode(FOS + shape) in WITH_QUERIES)
    found = [r for r in every if r.shape == f"<{FOS}{shape}>"]
    assert found, every
    assert all(r.severity == "Violation" for r in found)
    stated = {str(o.value) for o in values(FOS + shape, Sh.message) if isinstance(o, Literal)}
    assert {r.message for r in found} == stated


def values(subject: str, predicate: str) -> list[object]:
    return [
        t.object
        for t in SHAPES
        if t.subject == NamedNode(subject) and t.predicate.value == predicate
    ]


NAMED = sorted({t.subject.value for t in SHAPES if isinstance(t.subject, NamedNode)})
# Shapes that only serve inside others never speak themselves.
SILENT = {
    "plain-text",
    "language-text",
    "labelled",
    "defined",
    "definition",
    "has-vmid",
    "has-container",
    "has-publicUrl",
    "has-internalUrl",
    "has-authReference",
    "has-onAsset",
    "has-onAssetRole",
    "has-operationKind",
    "has-subjectKind",
    "has-keyPattern",
    "has-valuePattern",
} | {iri[len(FOS) :] for iri in NAMED if iri.startswith(FOS + "is-")}


def speaking() -> set[str]:
    constraints = {
        Sh.minCount,
        Sh.maxCount,
        Sh.datatype,
        Sh.class_,
        Sh.or_,
        Sh.xone,
        Sh.in_,
        Sh.pattern,
        Sh.not_,
        Sh.minInclusive,
        Sh.nodeKind,
        Sh.sparql,
    }
    return {
        iri[len(FOS) :]
        for iri in NAMED
        if any(
            t.subject.value == iri and t.predicate.value in constraints
            for t in SHAPES
            if isinstance(t.subject, NamedNode)
        )
    }


def test_each_shape_that_can_speak_is_made_to() -> None:
    assert speaking() - SILENT == {shape for shape, _ in UNSOUND}


def test_each_shape_has_a_name_in_our_namespace_and_a_message_that_ends() -> None:
    assert all(iri.startswith(FOS) for iri in NAMED)
    for shape in speaking() - SILENT:
        messages = values(FOS + shape, Sh.message)
        assert len(messages) == 1, shape
        assert isinstance(messages[0], Literal)
        assert messages[0].value.endswith("."), shape


def test_every_class_that_can_be_proposed_has_a_shape() -> None:
    targeted = {
        str(t.object.value)
        for t in SHAPES
        if t.predicate.value == Sh.targetClass and isinstance(t.object, NamedNode)
    }
    declared = {
        t.subject.value
        for t in SHIPPED
        if isinstance(t.subject, NamedNode)
        and t.predicate.value == Rdf.type
        and t.object == NamedNode(Owl.Class)
        and t.subject.value.startswith(FO)
    }
    # Their superclass says all there is to say, or nobody proposes them.
    without = {
        Fo.RpcMethod,
        Fo.RpcCall,
        Fo.MessageOperation,
        Fo.InternalOperation,
        Fo.Dataset,
        Fo.Topic,
        Fo.ServiceAccount,
        Fo.Role,
        Fo.Order,
        Fo.RuleCondition,
        Fo.LogEventType,
        Fo.Metric,
        Fo.EntityType,
    }
    assert declared - targeted == without


def test_paths_are_one_step_long() -> None:
    for t in SHAPES:
        if t.predicate.value == Sh.path:
            assert isinstance(t.object, NamedNode), t


def test_queries_rest_on_the_neighbourhood_of_a_change() -> None:
    queries = [
        constraint
        for shape in read_shapes(SHAPES, strict=True).targeted
        for constraint in shape.constraints
        if isinstance(constraint, Query)
    ]
    assert len(queries) == sum(t.predicate.value == Sh.sparql for t in SHAPES)
    assert all(query.around is not None for query in queries)


def test_only_datatypes_that_the_store_keeps() -> None:
    asked = {
        str(t.object.value)
        for t in SHAPES
        if t.predicate.value == Sh.datatype and isinstance(t.object, NamedNode)
    }
    names = {re.sub(r".*#", "", iri) for iri in asked}
    assert names == {
        "string",
        "langString",
        "integer",
        "boolean",
        "dateTime",
        "anyURI",
        "duration",
        "dayTimeDuration",
    }
