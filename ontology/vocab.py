"""Every IRI the code knows, once.

Invariant: `Fo` holds exactly the terms that the shipped Turtle declares in our namespace, spelled
as their local names (a hyphen becomes an underscore); a test holds the two against each other both
ways. The other namespaces hold the foreign terms that our Turtle or our code uses.
"""

from __future__ import annotations

from typing import Final

FO: Final = "https://w3id.org/fractalops/ns#"
ONTOLOGY: Final = "https://w3id.org/fractalops/ns"
FOS: Final = "https://w3id.org/fractalops/shapes#"

_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_RDFS: Final = "http://www.w3.org/2000/01/rdf-schema#"
_OWL: Final = "http://www.w3.org/2002/07/owl#"
_XSD: Final = "http://www.w3.org/2001/XMLSchema#"
_SKOS: Final = "http://www.w3.org/2004/02/skos/core#"
_PROV: Final = "http://www.w3.org/ns/prov#"
_DCAT: Final = "http://www.w3.org/ns/dcat#"
_DCTERMS: Final = "http://purl.org/dc/terms/"
_ORG: Final = "http://www.w3.org/ns/org#"
_SH: Final = "http://www.w3.org/ns/shacl#"

PREFIXES: Final[dict[str, str]] = {
    "fo": FO,
    "fos": FOS,
    "rdf": _RDF,
    "rdfs": _RDFS,
    "owl": _OWL,
    "xsd": _XSD,
    "skos": _SKOS,
    "prov": _PROV,
    "dcat": _DCAT,
    "dcterms": _DCTERMS,
    "org": _ORG,
    "sh": _SH,
}


class Fo:
    """Our own vocabulary, https://w3id.org/fractalops/ns#."""

    # --- classes: organisation and governance
    Organisation: Final = FO + "Organisation"
    Project: Final = FO + "Project"
    Principal: Final = FO + "Principal"
    Person: Final = FO + "Person"
    Agent: Final = FO + "Agent"
    ServiceAccount: Final = FO + "ServiceAccount"
    Steward: Final = FO + "Steward"
    Role: Final = FO + "Role"
    Grant: Final = FO + "Grant"
    NamedGraph: Final = FO + "NamedGraph"
    Proposal: Final = FO + "Proposal"
    Validation: Final = FO + "Validation"
    Decision: Final = FO + "Decision"
    Proof: Final = FO + "Proof"
    # --- classes: services and what they do
    Service: Final = FO + "Service"
    Operation: Final = FO + "Operation"
    HttpRoute: Final = FO + "HttpRoute"
    HttpCall: Final = FO + "HttpCall"
    RpcMethod: Final = FO + "RpcMethod"
    RpcCall: Final = FO + "RpcCall"
    DatabaseOperation: Final = FO + "DatabaseOperation"
    MessageOperation: Final = FO + "MessageOperation"
    PublishOperation: Final = FO + "PublishOperation"
    ConsumeOperation: Final = FO + "ConsumeOperation"
    InternalOperation: Final = FO + "InternalOperation"
    Dependency: Final = FO + "Dependency"
    DeploymentEnvironment: Final = FO + "DeploymentEnvironment"
    Release: Final = FO + "Release"
    # --- classes: data and lineage
    DataAsset: Final = FO + "DataAsset"
    DataStore: Final = FO + "DataStore"
    Dataset: Final = FO + "Dataset"
    Topic: Final = FO + "Topic"
    Job: Final = FO + "Job"
    Run: Final = FO + "Run"
    # --- classes: product, errors, evidence, classification
    ProductEventType: Final = FO + "ProductEventType"
    Feature: Final = FO + "Feature"
    Page: Final = FO + "Page"
    ErrorIssue: Final = FO + "ErrorIssue"
    EvidenceBatch: Final = FO + "EvidenceBatch"
    ClassificationRule: Final = FO + "ClassificationRule"
    RuleCondition: Final = FO + "RuleCondition"
    # --- classes: runtime assets
    RuntimeAsset: Final = FO + "RuntimeAsset"
    LxcAsset: Final = FO + "LxcAsset"
    KubernetesAsset: Final = FO + "KubernetesAsset"
    PublicUrl: Final = FO + "PublicUrl"
    ExecutorUrl: Final = FO + "ExecutorUrl"
    InternalUrl: Final = FO + "InternalUrl"

    # --- properties: organisation and governance
    slug: Final = FO + "slug"
    memberOf: Final = FO + "memberOf"
    hasRole: Final = FO + "hasRole"
    stewardOf: Final = FO + "stewardOf"
    ownedBy: Final = FO + "ownedBy"
    lineageGraph: Final = FO + "lineageGraph"
    restricted: Final = FO + "restricted"
    timeLock: Final = FO + "timeLock"
    headEntry: Final = FO + "headEntry"
    grantee: Final = FO + "grantee"
    onProject: Final = FO + "onProject"
    onGraph: Final = FO + "onGraph"
    autoApplyLimit: Final = FO + "autoApplyLimit"
    # --- properties: proposals, validations, decisions, proofs
    state: Final = FO + "state"
    author: Final = FO + "author"
    project: Final = FO + "project"
    targetGraph: Final = FO + "targetGraph"
    submittedAt: Final = FO + "submittedAt"
    decidedAt: Final = FO + "decidedAt"
    decidedBy: Final = FO + "decidedBy"
    outcome: Final = FO + "outcome"
    singlePerson: Final = FO + "singlePerson"
    conforms: Final = FO + "conforms"
    logIndex: Final = FO + "logIndex"
    leafHash: Final = FO + "leafHash"
    concernsProposal: Final = FO + "concernsProposal"
    evidence: Final = FO + "evidence"
    reverts: Final = FO + "reverts"
    # --- properties: services and what they do
    inProject: Final = FO + "inProject"
    offers: Final = FO + "offers"
    offeredBy: Final = FO + "offeredBy"
    performs: Final = FO + "performs"
    performedBy: Final = FO + "performedBy"
    calls: Final = FO + "calls"
    calledBy: Final = FO + "calledBy"
    caller: Final = FO + "caller"
    callee: Final = FO + "callee"
    via: Final = FO + "via"
    invokes: Final = FO + "invokes"
    callsOperation: Final = FO + "callsOperation"
    runsIn: Final = FO + "runsIn"
    hasRelease: Final = FO + "hasRelease"
    version: Final = FO + "version"
    revision: Final = FO + "revision"
    httpMethod: Final = FO + "httpMethod"
    route: Final = FO + "route"
    # --- properties: data and lineage
    system: Final = FO + "system"
    namespace: Final = FO + "namespace"
    address: Final = FO + "address"
    reads: Final = FO + "reads"
    writes: Final = FO + "writes"
    storedIn: Final = FO + "storedIn"
    stores: Final = FO + "stores"
    derivedFrom: Final = FO + "derivedFrom"
    parentJob: Final = FO + "parentJob"
    runOf: Final = FO + "runOf"
    parentRun: Final = FO + "parentRun"
    # --- properties: product, errors, evidence, classification
    concernsFeature: Final = FO + "concernsFeature"
    onPage: Final = FO + "onPage"
    reaches: Final = FO + "reaches"
    path: Final = FO + "path"
    affects: Final = FO + "affects"
    seenInRelease: Final = FO + "seenInRelease"
    errorType: Final = FO + "errorType"
    culprit: Final = FO + "culprit"
    digest: Final = FO + "digest"
    receivedAt: Final = FO + "receivedAt"
    source: Final = FO + "source"
    priority: Final = FO + "priority"
    classifiesAs: Final = FO + "classifiesAs"
    operationKind: Final = FO + "operationKind"
    whenKind: Final = FO + "whenKind"
    whenAttribute: Final = FO + "whenAttribute"
    whenAttributeEquals: Final = FO + "whenAttributeEquals"
    nameTemplate: Final = FO + "nameTemplate"
    # --- properties: runtime assets
    assetId: Final = FO + "assetId"
    assetRole: Final = FO + "assetRole"
    hosts: Final = FO + "hosts"
    hostedOn: Final = FO + "hostedOn"
    publicUrl: Final = FO + "publicUrl"
    executorUrl: Final = FO + "executorUrl"
    internalUrl: Final = FO + "internalUrl"
    url: Final = FO + "url"
    locatorNode: Final = FO + "locatorNode"
    locatorVmid: Final = FO + "locatorVmid"
    locatorContainer: Final = FO + "locatorContainer"
    locatorCluster: Final = FO + "locatorCluster"
    locatorNamespace: Final = FO + "locatorNamespace"
    locatorWorkload: Final = FO + "locatorWorkload"

    # --- individuals
    AnalystRole: Final = FO + "AnalystRole"
    StewardRole: Final = FO + "StewardRole"
    OperatorRole: Final = FO + "OperatorRole"
    AuditorRole: Final = FO + "AuditorRole"
    rule_database_client: Final = FO + "rule-database-client"
    rule_message_publish: Final = FO + "rule-message-publish"
    rule_message_publish_client: Final = FO + "rule-message-publish-client"
    rule_message_consume: Final = FO + "rule-message-consume"
    rule_message_receive_client: Final = FO + "rule-message-receive-client"
    rule_rpc_server_with_service: Final = FO + "rule-rpc-server-with-service"
    rule_rpc_server: Final = FO + "rule-rpc-server"
    rule_rpc_client_with_service: Final = FO + "rule-rpc-client-with-service"
    rule_rpc_client: Final = FO + "rule-rpc-client"
    rule_http_server: Final = FO + "rule-http-server"
    rule_http_server_unrouted: Final = FO + "rule-http-server-unrouted"
    rule_http_client: Final = FO + "rule-http-client"
    rule_internal: Final = FO + "rule-internal"


class Rdf:
    """http://www.w3.org/1999/02/22-rdf-syntax-ns#"""

    type: Final = _RDF + "type"
    first: Final = _RDF + "first"
    rest: Final = _RDF + "rest"
    nil: Final = _RDF + "nil"
    langString: Final = _RDF + "langString"


class Rdfs:
    """http://www.w3.org/2000/01/rdf-schema#"""

    Class: Final = _RDFS + "Class"
    label: Final = _RDFS + "label"
    comment: Final = _RDFS + "comment"
    subClassOf: Final = _RDFS + "subClassOf"
    subPropertyOf: Final = _RDFS + "subPropertyOf"
    domain: Final = _RDFS + "domain"
    range: Final = _RDFS + "range"
    isDefinedBy: Final = _RDFS + "isDefinedBy"
    seeAlso: Final = _RDFS + "seeAlso"
    Literal: Final = _RDFS + "Literal"


class Owl:
    """http://www.w3.org/2002/07/owl#"""

    Ontology: Final = _OWL + "Ontology"
    Class: Final = _OWL + "Class"
    ObjectProperty: Final = _OWL + "ObjectProperty"
    DatatypeProperty: Final = _OWL + "DatatypeProperty"
    AnnotationProperty: Final = _OWL + "AnnotationProperty"
    FunctionalProperty: Final = _OWL + "FunctionalProperty"
    SymmetricProperty: Final = _OWL + "SymmetricProperty"
    NamedIndividual: Final = _OWL + "NamedIndividual"
    AllDisjointClasses: Final = _OWL + "AllDisjointClasses"
    Restriction: Final = _OWL + "Restriction"
    Thing: Final = _OWL + "Thing"
    Nothing: Final = _OWL + "Nothing"
    disjointWith: Final = _OWL + "disjointWith"
    disjointUnionOf: Final = _OWL + "disjointUnionOf"
    members: Final = _OWL + "members"
    unionOf: Final = _OWL + "unionOf"
    inverseOf: Final = _OWL + "inverseOf"
    equivalentClass: Final = _OWL + "equivalentClass"
    equivalentProperty: Final = _OWL + "equivalentProperty"
    sameAs: Final = _OWL + "sameAs"
    versionIRI: Final = _OWL + "versionIRI"
    versionInfo: Final = _OWL + "versionInfo"
    imports: Final = _OWL + "imports"


class Xsd:
    """http://www.w3.org/2001/XMLSchema# (only datatypes the graph store leaves as they are)."""

    string: Final = _XSD + "string"
    boolean: Final = _XSD + "boolean"
    integer: Final = _XSD + "integer"
    decimal: Final = _XSD + "decimal"
    double: Final = _XSD + "double"
    dateTime: Final = _XSD + "dateTime"
    date: Final = _XSD + "date"
    duration: Final = _XSD + "duration"
    anyURI: Final = _XSD + "anyURI"


class Skos:
    """http://www.w3.org/2004/02/skos/core#"""

    definition: Final = _SKOS + "definition"
    notation: Final = _SKOS + "notation"
    prefLabel: Final = _SKOS + "prefLabel"
    altLabel: Final = _SKOS + "altLabel"
    scopeNote: Final = _SKOS + "scopeNote"
    example: Final = _SKOS + "example"
    exactMatch: Final = _SKOS + "exactMatch"
    closeMatch: Final = _SKOS + "closeMatch"
    relatedMatch: Final = _SKOS + "relatedMatch"


class Prov:
    """http://www.w3.org/ns/prov#"""

    Entity: Final = _PROV + "Entity"
    Activity: Final = _PROV + "Activity"
    Agent: Final = _PROV + "Agent"
    Person: Final = _PROV + "Person"
    SoftwareAgent: Final = _PROV + "SoftwareAgent"
    Organization: Final = _PROV + "Organization"
    Plan: Final = _PROV + "Plan"
    wasDerivedFrom: Final = _PROV + "wasDerivedFrom"
    wasAttributedTo: Final = _PROV + "wasAttributedTo"
    wasAssociatedWith: Final = _PROV + "wasAssociatedWith"
    wasGeneratedBy: Final = _PROV + "wasGeneratedBy"
    wasInformedBy: Final = _PROV + "wasInformedBy"
    used: Final = _PROV + "used"
    generated: Final = _PROV + "generated"
    startedAtTime: Final = _PROV + "startedAtTime"
    endedAtTime: Final = _PROV + "endedAtTime"
    generatedAtTime: Final = _PROV + "generatedAtTime"


class Dcat:
    """http://www.w3.org/ns/dcat#"""

    Resource: Final = _DCAT + "Resource"
    Dataset: Final = _DCAT + "Dataset"
    DataService: Final = _DCAT + "DataService"
    endpointURL: Final = _DCAT + "endpointURL"
    servesDataset: Final = _DCAT + "servesDataset"


class Dcterms:
    """http://purl.org/dc/terms/"""

    title: Final = _DCTERMS + "title"
    description: Final = _DCTERMS + "description"
    license: Final = _DCTERMS + "license"
    created: Final = _DCTERMS + "created"
    identifier: Final = _DCTERMS + "identifier"
    isPartOf: Final = _DCTERMS + "isPartOf"


class Org:
    """http://www.w3.org/ns/org#"""

    Organization: Final = _ORG + "Organization"
    OrganizationalUnit: Final = _ORG + "OrganizationalUnit"
    Role: Final = _ORG + "Role"
    memberOf: Final = _ORG + "memberOf"
    role: Final = _ORG + "role"


class Sh:
    """http://www.w3.org/ns/shacl#"""

    NodeShape: Final = _SH + "NodeShape"
    PropertyShape: Final = _SH + "PropertyShape"
    targetClass: Final = _SH + "targetClass"
    targetNode: Final = _SH + "targetNode"
    targetSubjectsOf: Final = _SH + "targetSubjectsOf"
    targetObjectsOf: Final = _SH + "targetObjectsOf"
    property: Final = _SH + "property"
    path: Final = _SH + "path"
    inversePath: Final = _SH + "inversePath"
    alternativePath: Final = _SH + "alternativePath"
    zeroOrMorePath: Final = _SH + "zeroOrMorePath"
    oneOrMorePath: Final = _SH + "oneOrMorePath"
    zeroOrOnePath: Final = _SH + "zeroOrOnePath"
    node: Final = _SH + "node"
    qualifiedValueShape: Final = _SH + "qualifiedValueShape"
    message: Final = _SH + "message"
    severity: Final = _SH + "severity"
    datatype: Final = _SH + "datatype"
    nodeKind: Final = _SH + "nodeKind"
    minCount: Final = _SH + "minCount"
    maxCount: Final = _SH + "maxCount"
    pattern: Final = _SH + "pattern"
    class_: Final = _SH + "class"
    in_: Final = _SH + "in"
    or_: Final = _SH + "or"
    xone: Final = _SH + "xone"
    and_: Final = _SH + "and"
    not_: Final = _SH + "not"
    hasValue: Final = _SH + "hasValue"
    minExclusive: Final = _SH + "minExclusive"
    minInclusive: Final = _SH + "minInclusive"
    maxExclusive: Final = _SH + "maxExclusive"
    maxInclusive: Final = _SH + "maxInclusive"
    minLength: Final = _SH + "minLength"
    maxLength: Final = _SH + "maxLength"
    flags: Final = _SH + "flags"
    languageIn: Final = _SH + "languageIn"
    uniqueLang: Final = _SH + "uniqueLang"
    closed: Final = _SH + "closed"
    ignoredProperties: Final = _SH + "ignoredProperties"
    equals: Final = _SH + "equals"
    disjoint: Final = _SH + "disjoint"
    lessThan: Final = _SH + "lessThan"
    lessThanOrEquals: Final = _SH + "lessThanOrEquals"
    qualifiedMinCount: Final = _SH + "qualifiedMinCount"
    qualifiedMaxCount: Final = _SH + "qualifiedMaxCount"
    qualifiedValueShapesDisjoint: Final = _SH + "qualifiedValueShapesDisjoint"
    deactivated: Final = _SH + "deactivated"
    target: Final = _SH + "target"
    parameter: Final = _SH + "parameter"
    IRI: Final = _SH + "IRI"
    BlankNode: Final = _SH + "BlankNode"
    Literal: Final = _SH + "Literal"
    BlankNodeOrIRI: Final = _SH + "BlankNodeOrIRI"
    BlankNodeOrLiteral: Final = _SH + "BlankNodeOrLiteral"
    IRIOrLiteral: Final = _SH + "IRIOrLiteral"
    sparql: Final = _SH + "sparql"
    ValidationReport: Final = _SH + "ValidationReport"
    ValidationResult: Final = _SH + "ValidationResult"
    conforms: Final = _SH + "conforms"
    result: Final = _SH + "result"
    focusNode: Final = _SH + "focusNode"
    resultPath: Final = _SH + "resultPath"
    value: Final = _SH + "value"
    resultMessage: Final = _SH + "resultMessage"
    resultSeverity: Final = _SH + "resultSeverity"
    sourceShape: Final = _SH + "sourceShape"
    sourceConstraintComponent: Final = _SH + "sourceConstraintComponent"
    Violation: Final = _SH + "Violation"
    Warning: Final = _SH + "Warning"
    Info: Final = _SH + "Info"
