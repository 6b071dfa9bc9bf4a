"""Operations: `@operation`, the registry, the pipeline, and effects outside the store.

A domain needs `operation`, `Effect`, `Example`, `Outside`, `ListRequest` and `list_page`;
bootstrap makes `Operations`, `Ports`, `Pipeline` and `Reconciler`; hosts make a `Call` and
show the `Reply`. Import those from their modules: nothing is imported here, because
ports, records and hosts need single parts of it.
"""
