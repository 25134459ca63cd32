// Package dirk runs signer/keystore/dirk against real Dirk servers, built from
// their module and run as processes. It is a module of its own, so that what Dirk
// needs is nothing the sidecar needs. See `make e2e-dirk`.
package dirk
