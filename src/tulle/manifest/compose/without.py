"""Fields of Compose that a mesh file does without: why, and what to do instead."""

_APART = "the runtime of a mesh gives each container what it needs, and no more"
_GROUP = "cgroups of a mesh limit memory and cpus"
_ONE = "one box runs one of each service"
_BUILD = "a mesh builds nothing"
_NET = "a pod has a network of its own, in which it sees only its own doors and the mesh's names"
_POLICY = "in a mesh no network decides who reaches whom: `allow` does"
_NAMES = "in a mesh a service answers to its own name"
_LOGS = "output of containers is kept by the mesh, bounded and rotated"
_TERMINAL = "nobody sits before a container of a mesh"
_HOOKS = "a mesh runs a program, and nothing before or after it"
_IMAGE = "put it into the image"

SERVICE: dict[str, tuple[str, str]] = {
    "annotations": ("they are for other tools", ""),
    "attach": (_LOGS, "read it: `tulle logs --follow`"),
    "blkio_config": (_GROUP, ""),
    "build": (_BUILD, "build the image first"),
    "cap_add": (_APART, "run what needs capabilities outside of the mesh, and name it in `external`"),
    "cap_drop": (_APART, ""),
    "cgroup": (_APART, ""),
    "cgroup_parent": (_APART, ""),
    "container_name": (_NAMES, ""),
    "cpu_count": (_GROUP, "write `cpus`"),
    "cpu_percent": (_GROUP, "write `cpus`"),
    "cpu_period": (_GROUP, "write `cpus`"),
    "cpu_quota": (_GROUP, "write `cpus`"),
    "cpu_rt_period": (_GROUP, ""),
    "cpu_rt_runtime": (_GROUP, ""),
    "cpu_shares": (_GROUP, "write `cpus`"),
    "cpuset": (_GROUP, "write `cpus`"),
    "credential_spec": ("it is for Windows", ""),
    "develop": (_BUILD, ""),
    "device_cgroup_rules": (_APART, "run what needs devices outside of the mesh, and name it in `external`"),
    "devices": (_APART, "run what needs devices outside of the mesh, and name it in `external`"),
    "dns": (_NET, "names come from the mesh, and from `external`"),
    "dns_opt": (_NET, ""),
    "dns_search": (_NET, ""),
    "domainname": (_NAMES, ""),
    "driver_opts": (_APART, ""),
    "external_links": (_NET, "declare what lies beyond the mesh under `external`"),
    "extra_hosts": (_NET, "declare what lies beyond the mesh under `external`, with `host` and `port`"),
    "gpus": (_APART, "run what needs devices outside of the mesh, and name it in `external`"),
    "group_add": (_APART, "write `user`"),
    "hostname": (_NAMES, ""),
    "init": ("every pod has an init that reaps", ""),
    "ipc": (_APART, ""),
    "isolation": ("every service has a pod of its own", ""),
    "label_file": ("they are for other tools", ""),
    "labels": ("they are for other tools", "what a router read there may be a rule, a route or `expose` here"),
    "logging": (_LOGS, "read it: `tulle logs`"),
    "mac_address": (_NET, ""),
    "mem_reservation": (_GROUP, "write `memory`, the limit"),
    "mem_swappiness": (_GROUP, ""),
    "memswap_limit": (_GROUP, ""),
    "models": ("a mesh serves no models by itself", "declare what serves it under `services` or `external`"),
    "network_mode": (_NET, "what must share the box's network runs outside of the mesh; name it in `external`"),
    "networks": (_POLICY, "write who may call it under `allow`"),
    "oom_kill_disable": (_GROUP, ""),
    "oom_score_adj": (_GROUP, ""),
    "pid": (_APART, ""),
    "pids_limit": (_GROUP, ""),
    "platform": ("the image on the box is the one that runs", "pull the image for the box's own platform"),
    "post_start": (_HOOKS, _IMAGE),
    "pre_start": (_HOOKS, _IMAGE),
    "pre_stop": (_HOOKS, _IMAGE),
    "privileged": (
        "a pod has no rights over the box",
        "run what needs them outside of the mesh, and name it in `external`",
    ),
    "provider": ("a mesh runs programs and containers", "declare what it provides under `external`"),
    "read_only": (_APART, ""),
    "runtime": (_APART, ""),
    "security_opt": (_APART, ""),
    "shm_size": (_APART, ""),
    "stdin_open": (_TERMINAL, ""),
    "storage_opt": (_APART, ""),
    "sysctls": (_APART, ""),
    "tmpfs": (_APART, "mount a directory of the box, if it must be elsewhere than /tmp or /run"),
    "tty": (_TERMINAL, ""),
    "ulimits": (_APART, ""),
    "use_api_socket": ("whoever holds that socket is root of the box", ""),
    "userns_mode": (_APART, ""),
    "uts": (_APART, ""),
    "volumes_from": ("each service says its own mounts", "write the volumes here as well"),
}
"""Field of a service → why it is not carried, what to do."""

TOP: dict[str, tuple[str, str]] = {
    "configs": ("no service mounts it", ""),
    "include": ("one file is imported at a time", "`docker compose config` writes them all into one: import that"),
    "models": ("a mesh serves no models by itself", "declare what serves it under `services` or `external`"),
    "networks": (_POLICY, "write who may call whom under `allow`"),
    "secrets": ("no service mounts it", ""),
    "version": ("it means nothing any more", ""),
}
"""Field of the file → the same."""

DEPLOY: dict[str, tuple[str, str]] = {
    "endpoint_mode": (_NAMES, ""),
    "labels": ("they are for other tools", ""),
    "mode": (_ONE, ""),
    "placement": (_ONE, ""),
    "replicas": (_ONE, "write `versions` for several that share the traffic"),
    "restart_policy": ("a mesh starts again whatever ends, at growing intervals", ""),
    "rollback_config": (_ONE, "`tulle rollback` brings an earlier mesh file back"),
    "update_config": (_ONE, "write `versions` and their weights"),
}
"""Field of `deploy` → the same."""

UNKNOWN = ("no such field of Compose is known", "correct it, or leave it out")
OTHERS = ("fields that begin with `x-` are for other tools", "")
