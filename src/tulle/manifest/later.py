"""What others have and a manifest has not, or not yet: refused with what to do instead, never ignored."""

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

ELSEWHERE: dict[str, dict[str, str]] = {
    "ServiceEntry": {
        "build": "build the image, and name it: `container: {image: …}`",
        "command": "write `run`; in a container `container: {image: …, command: …}`",
        "cpus": "write it inside of `container`",
        "entrypoint": "write `run`; in a container `container: {image: …, command: …}`",
        "environment": "write `env`",
        "healthcheck": "write `readiness: /path`",
        "image": "write `container: {image: …}`",
        "memory": "write it inside of `container`",
        "mounts": "write it inside of `container`",
        "restart": "leave it out: what ends is started again",
        "volumes": "write `container: {mounts: […]}`; what `run` starts sees the box, and may write where `writable` says",
        "working_dir": "write `workdir`",
    },
}
"""Type → field of a compose file, or at another place of ours → what to write."""

KINDS_ELSEWHERE: dict[str, str] = {
    "DestinationRule": "write a Service for each version, and their weights in an HTTPRoute",
    "PeerAuthentication": "leave it out: on the box the kernel says who calls",
    "Sidecar": "leave it out: a pod sees nothing but the mesh",
}
"""Kind of another mesh → what to write."""
