package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/crypto/sha3"

	"sidecar/internal/config"
)

// A token is a JWS of one fixed algorithm, so that what reads it can be read
// here: there is nothing to negotiate, no key to look up, no library whose
// options could be wrong. [Commit-Boost: module JWT; RFC 7515, RFC 7519]

const (
	maxToken    = 4 << 10 // bytes
	maxModuleID = 64      // bytes
	maxJTI      = 64      // bytes
	maxTime     = 1 << 40 // unix seconds: any year that anybody means
)

// Lives of tokens.
const (
	leeway       = 10 * time.Second // of Commit-Boost
	strictLeeway = 5 * time.Second
	strictLife   = 60 * time.Second
	maxLife      = time.Hour // Commit-Boost's clients ask for 300 s, its server for nothing
)

// token is what a token says. Nothing of it may be believed before genuine.
type token struct {
	signed []byte // header and claims, as they were signed
	mac    []byte
	claims claims
}

// claims are the claims that count; others are ignored.
type claims struct {
	exp, iat, nbf int64 // unix seconds; 0 if absent
	module        string
	admin         bool
	route         *string
	payloadHash   *[32]byte
	jti           string
}

// parseToken reads the compact form. It is strict: base64url without padding,
// the header {"typ":"JWT","alg":"HS256"} in any order (typ is optional) and
// nothing else, no name twice.
func parseToken(text string) (t token, ok bool) {
	if len(text) > maxToken || strings.Count(text, ".") != 2 {
		return t, false
	}
	end := strings.LastIndexByte(text, '.')
	head, body, _ := strings.Cut(text[:end], ".")
	header, ok1 := segment(head)
	payload, ok2 := segment(body)
	mac, ok3 := segment(text[end+1:])
	if !ok1 || !ok2 || !ok3 || len(mac) != sha256.Size || !validHeader(header) {
		return t, false
	}
	t.signed, t.mac = []byte(text[:end]), mac
	t.claims, ok = parseClaims(payload)
	return t, ok
}

var base64url = base64.RawURLEncoding.Strict()

// segment decodes base64url, whose decoder would skip line ends.
func segment(s string) ([]byte, bool) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64url.DecodeString(s)
	return b, err == nil
}

func validHeader(b []byte) bool {
	f, err := object(b)
	if err != nil {
		return false
	}
	var alg, typ string
	for name, raw := range f {
		switch name {
		case "alg":
			ok := text(raw, &alg)
			if !ok {
				return false
			}
		case "typ":
			if !text(raw, &typ) || typ != "JWT" {
				return false
			}
		default: // kid, jku, jwk, x5u, crit: nothing that we would look up
			return false
		}
	}
	return alg == "HS256"
}

func parseClaims(b []byte) (c claims, ok bool) {
	f, err := object(b)
	if err != nil {
		return c, false
	}
	if _, has := f["aud"]; has { // for somebody else [Commit-Boost]
		return c, false
	}
	ok = moment(f["exp"], &c.exp) && c.exp != 0
	for name, into := range map[string]*int64{"iat": &c.iat, "nbf": &c.nbf} {
		if raw, has := f[name]; has {
			ok = ok && moment(raw, into)
		}
	}
	for name, into := range map[string]*string{"module": &c.module, "jti": &c.jti} {
		if raw, has := f[name]; has {
			ok = ok && text(raw, into)
		}
	}
	if raw, has := f["admin"]; has {
		c.admin = string(raw) == "true"
		ok = ok && (c.admin || string(raw) == "false")
	}
	if raw, has := f["route"]; has {
		c.route = new(string)
		ok = ok && text(raw, c.route)
	}
	if raw, has := f["payload_hash"]; has && string(raw) != "null" {
		c.payloadHash = new([32]byte)
		ok = ok && hash(raw, c.payloadHash)
	}
	return c, ok && len(c.jti) <= maxJTI
}

func text(raw json.RawMessage, into *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, into) == nil
}

// moment reads whole unix seconds.
func moment(raw json.RawMessage, into *int64) bool {
	return json.Unmarshal(raw, into) == nil && *into >= 0 && *into < maxTime && string(raw) != "null"
}

func hash(raw json.RawMessage, into *[32]byte) bool {
	var s string
	if !text(raw, &s) {
		return false
	}
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	return ok && err == nil && copy(into[:], b) == len(into) && len(b) == len(into)
}

// genuine says whether the token was signed with a secret. It takes the same
// time for every secret of a length.
func (t *token) genuine(secret config.Secret) bool {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(t.signed)
	return hmac.Equal(m.Sum(nil), t.mac)
}

// rules are what a genuine token must keep to.
type rules struct {
	route   string // path of the request
	body    []byte
	now     time.Time
	strict  bool
	started time.Time // strict: tokens of before are refused, for they may have been used
	legacy  bool      // a token without route binds nothing
}

// check says whether a genuine token is for this request, now.
func (c *claims) check(r rules) error {
	slack := leeway
	if r.strict {
		slack = strictLeeway
	}
	now := r.now
	exp := time.Unix(c.exp, 0)
	switch {
	case !exp.Add(slack).After(now):
		return ErrTokenExpired.With("expired")
	case exp.After(now.Add(maxLife)):
		return ErrTokenExpired.With("valid for more than %s", maxLife)
	case c.nbf != 0 && time.Unix(c.nbf, 0).After(now.Add(slack)):
		return ErrTokenExpired.With("not valid yet")
	}
	if r.strict {
		iat := time.Unix(c.iat, 0)
		switch {
		case c.jti == "" || c.iat == 0:
			return ErrTokenStrict.With("jti or iat is missing")
		case iat.After(now.Add(slack)) || exp.Sub(iat) > strictLife:
			return ErrTokenStrict.With("made in the future, or valid for more than %s", strictLife)
		case c.iat < r.started.Unix():
			return ErrTokenStrict.With("made before the sidecar started")
		}
	}
	switch {
	case c.route == nil && !r.legacy:
		return ErrTokenRequest.With("no route")
	case c.route != nil && *c.route != r.route:
		return ErrTokenRequest.With("another route")
	case c.payloadHash == nil && len(r.body) > 0 && c.route != nil:
		return ErrTokenRequest.With("no payload_hash")
	case c.payloadHash != nil && (len(r.body) == 0 || !matches(c.payloadHash, r.body)):
		return ErrTokenRequest.With("another body")
	}
	return nil
}

func matches(want *[32]byte, body []byte) bool {
	k := sha3.NewLegacyKeccak256()
	k.Write(body)
	return bytes.Equal(k.Sum(nil), want[:])
}
