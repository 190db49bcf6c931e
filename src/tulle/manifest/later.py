"""Fields that are known but not supported yet: refused with what to do instead, never ignored."""

LATER: dict[str, dict[str, str]] = {
    "MeshFile": {
        "nodes": "one node per mesh until then",
        "hub": "one node per mesh until then",
    },
    "ServiceEntry": {
        "replicas": "write a version for each until then",
        "retries": "the proxy retries what it safely can",
        "timeout": "",
        "limits": "",
        "ports": "one `port` a service; write a Service resource for more",
        "routes": "write an HTTPRoute resource",
    },
    "ServiceSpec": {
        "externalName": "write a Workload with `address`",
        "clusterIP": "every service gets a virtual address",
        "sessionAffinity": "",
        "loadBalancerIP": "",
        "externalIPs": "",
        "externalTrafficPolicy": "",
        "internalTrafficPolicy": "",
        "ipFamilies": "",
        "ipFamilyPolicy": "",
        "publishNotReadyAddresses": "",
    },
    "HTTPRouteRule": {"filters": "", "timeouts": "", "retry": "", "sessionPersistence": ""},
    "HTTPRouteMatch": {"queryParams": ""},
    "BackendRef": {"filters": ""},
    "ParentRef": {"sectionName": "name the `port` instead"},
    "Rule": {"when": "use `from` and `to`"},
    "Source": {
        "requestPrincipals": "needs RequestAuthentication",
        "notRequestPrincipals": "needs RequestAuthentication",
        "ipBlocks": "name principals or namespaces: an address is no identity",
        "notIpBlocks": "name principals or namespaces: an address is no identity",
        "remoteIpBlocks": "name principals or namespaces: an address is no identity",
        "notRemoteIpBlocks": "name principals or namespaces: an address is no identity",
        "serviceAccounts": "name principals",
        "notServiceAccounts": "name notPrincipals",
    },
    "AuthorizationPolicySpec": {"targetRefs": "use `selector`", "targetRef": "use `selector`", "provider": ""},
}
"""Type → field → hint; empty when nothing helps until then."""

LATER_KINDS: dict[str, str] = {
    "GRPCRoute": "",
    "TLSRoute": "",
    "Gateway": "use `type: NodePort` on the Service",
    "ReferenceGrant": "keep a route and its backends in one namespace",
    "RequestAuthentication": "",
    "TrafficPolicy": "",
    "Deployment": "write a Workload",
    "Pod": "write a Workload",
    "ServiceEntry": "write a Service, and a Workload with `address`",
    "WorkloadEntry": "write a Workload with `address`",
    "VirtualService": "write an HTTPRoute",
}
"""Kind → hint."""
