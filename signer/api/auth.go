package api

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"sidecar/internal/config"
	"sidecar/internal/httpd"
)

// authenticate finds out who calls, in Commit-Boost's order: header, address,
// limit of failures, token. The body was read before, within its limit.
func (s *Service) authenticate(r route, req httpd.Request) (*call, error) {
	c := &call{}
	text, ok := bearer(req.Header("Authorization"))
	if !ok {
		return c, ErrNoToken
	}
	addr, err := s.cfg.Address.of(req)
	if err != nil {
		return c, err
	}
	now := s.cfg.Clock.Now()
	t, parsed := parseToken(text)
	rule := rules{route: r.path, body: req.Body, now: now, started: s.started}
	if r.grant == "" {
		secret := s.cfg.Policy.table.Load().Admin
		return c, s.limiter.try(addr, adminName, secret.Weak(), now, func() error {
			if !parsed || !s.genuine(&t, secret) || !t.claims.admin {
				return ErrToken
			}
			return t.claims.check(rule)
		})
	}
	name := ""
	if parsed && len(t.claims.module) <= maxModuleID {
		name = t.claims.module
	}
	m := s.cfg.Policy.module(name)
	if m == nil {
		return c, s.limiter.stranger(addr, "module/"+name, now, func() error {
			_ = t.genuine(s.dummy) // as long as for a module we know
			return ErrToken
		})
	}
	rule.strict, rule.legacy = m.Strict, m.Legacy
	err = s.limiter.try(addr, "module/"+name, m.Secret.Weak(), now, func() error {
		if !s.genuine(&t, m.Secret) {
			return ErrToken
		}
		if m.Peer != "" && (req.Peer == nil || !slices.Contains(req.Peer(), m.Peer)) {
			return ErrPeer
		}
		if err := t.claims.check(rule); err != nil || !m.Strict {
			return err
		}
		return s.state(m.ID).replay.use(t.claims.jti, t.claims.exp, now)
	})
	if err != nil {
		return c, err
	}
	c.module, c.legacy = m, t.claims.route == nil
	if c.legacy {
		s.cfg.Metrics.weakToken(m.ID)
	}
	return c, nil
}

// genuine verifies a token with a secret; without one, nothing is genuine.
func (s *Service) genuine(t *token, secret config.Secret) bool {
	if secret == "" {
		_ = t.genuine(s.dummy)
		return false
	}
	return t.genuine(secret)
}

// bearer returns the token of an Authorization header. Two headers are none.
func bearer(header string) (string, bool) {
	scheme, text, ok := strings.Cut(header, " ")
	text = strings.Trim(text, " ")
	return text, ok && strings.EqualFold(scheme, "Bearer") && text != "" && !strings.ContainsAny(text, ", ")
}

func randomSecret() (config.Secret, error) {
	var b [32]byte
	_, err := rand.Read(b[:])
	return config.Secret(hex.EncodeToString(b[:])), err
}
