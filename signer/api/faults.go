package api

import "sidecar/fault"

// Faults of this package. What a caller is told about its token before the token
// is known to be genuine is always ErrToken.
var (
	ErrNoToken       = fault.Define("token_missing", fault.Unauthorized, "The request has no Authorization header with one Bearer token.")
	ErrToken         = fault.Define("token_invalid", fault.Unauthorized, "The token is malformed, of an unknown or revoked module, or not signed with its secret.")
	ErrTokenExpired  = fault.Define("token_expired", fault.Unauthorized, "The token's time is over, has not begun, or is longer than may be.")
	ErrTokenRequest  = fault.Define("token_other_request", fault.Unauthorized, "The token was made for another route or another body.")
	ErrTokenReplayed = fault.Define("token_replayed", fault.Unauthorized, "The token was used before; a strict module makes a new one for each request.")
	ErrTokenStrict   = fault.Define("token_not_strict", fault.Unauthorized, "A strict module's token needs jti, iat of after the sidecar's start, and a life of at most 60 s.")
	ErrTokenCache    = fault.Define("token_cache_full", fault.Busy, "Too many tokens of this module are still alive to tell whether this one was used before.")
	ErrPeer          = fault.Define("client_certificate_wrong", fault.Unauthorized, "The module's client certificate does not name it.")
	ErrAddress       = fault.Define("client_address_unknown", fault.Invalid, "The reverse proxy's header does not say where the request comes from.")
	ErrAuthLimit     = fault.Define("auth_rate_limited", fault.Busy, "Too many failed tokens in this name from this address.")
	ErrQuota         = fault.Define("module_quota", fault.Busy, "The module has had all the signatures it may have in this slot.")
	ErrMediaType     = fault.Define("json_wanted", fault.Unsupported, "The body's Content-Type is not application/json.")
	ErrSyntax        = fault.Define("body_malformed", fault.Invalid, "The body is not one JSON object with every name once.")
	ErrShape         = fault.Define("body_shape", fault.Rejected, "A field of the body is missing, of the wrong type, or out of range.")
	ErrRoute         = fault.Define("route_forbidden", fault.Forbidden, "The module's grant does not list this route.")
	ErrLegacy        = fault.Define("legacy_disabled", fault.Forbidden, "The module's grant does not allow the API of Commit-Boost up to 0.9.")
	ErrBlind         = fault.Define("blind_root_forbidden", fault.Forbidden, "A validator's key signs a root it cannot read only where the operator named both module and key.")
	ErrKey           = fault.Define("key_forbidden", fault.Forbidden, "The module's grant does not cover this key.")
	ErrProxyOwner    = fault.Define("proxy_not_yours", fault.Forbidden, "The proxy key belongs to another module.")
	ErrConsensus     = fault.Define("unknown_consensus_signer", fault.NotFound, "No such validator key is loaded.")
	ErrProxy         = fault.Define("unknown_proxy_signer", fault.NotFound, "There is no such proxy key, or it was revoked.")
	ErrProxyLimit    = fault.Define("proxy_limit", fault.Rejected, "The module has all the proxy keys it may have for this validator.")
	ErrModule        = fault.Define("unknown_module", fault.NotFound, "No module has this id.")
	ErrOverride      = fault.Define("override_unknown_module", fault.Invalid, "A secret was given for a module that the configuration does not have; nothing was changed.")
	ErrReload        = fault.Define("reload_failed", fault.Internal, "The configuration could not be loaded again; the old one stays.")
	ErrTable         = fault.Define("signer_modules_invalid", fault.Invalid, "The modules' ids, secrets, signing ids or grants do not fit together.")
	ErrIntent        = fault.Define("intent_invalid", fault.Invalid, "The intent of a module in this process is not of the form that the route takes.")
	ErrIntentSlot    = fault.Define("intent_slot", fault.Rejected, "The intent's slot is past, or more than 64 slots ahead.")
	ErrIntentRoot    = fault.Define("intent_root", fault.Rejected, "The intent's object_root is not the hash of its object.")
	ErrIntentDiffers = fault.Define("intent_differs", fault.Conflict, "The same object was signed before for another slot, type or other claims.")
)
