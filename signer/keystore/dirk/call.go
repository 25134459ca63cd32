package dirk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The two calls we make. [Dirk: lister.proto, signer.proto]
const (
	pathList = "/v1.Lister/ListAccounts"
	pathSign = "/v1.Signer/Sign"
)

// prefix is how many bytes precede a message: compressed or not, and its length.
const prefix = 5

// Status codes that we tell apart. [gRPC: status codes]
const (
	codeOK               = 0
	codeDeadline         = 4
	codePermissionDenied = 7
	codeUnavailable      = 14
	codeUnauthenticated  = 16
)

// call makes one unary gRPC call: a POST over HTTP/2, whose body is one message
// and whose outcome is in the trailers. [gRPC over HTTP/2]
// Faults: ErrUnreachable, ErrRefused, ErrAnswer.
func (s *server) call(ctx context.Context, path string, message []byte) ([]byte, error) {
	body := make([]byte, prefix, prefix+len(message))
	binary.BigEndian.PutUint32(body[1:], uint32(len(message))) // #nosec G115 -- our own requests, of a few hundred bytes
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(append(body, message...)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	if left, ok := s.left(ctx); ok {
		req.Header.Set("Grpc-Timeout", left)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, s.unreachable(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc") {
		return nil, ErrAnswer.With("%s: status %d, and no gRPC", s.name, res.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, int64(prefix+s.limit+1)))
	if err != nil {
		return nil, s.unreachable(err)
	}
	if len(answer) > prefix+s.limit {
		return nil, ErrAnswer.With("%s: more than %d bytes", s.name, s.limit)
	}
	if err := s.outcome(res); err != nil {
		return nil, err
	}
	if len(answer) < prefix || answer[0] != 0 || int64(binary.BigEndian.Uint32(answer[1:])) != int64(len(answer)-prefix) {
		return nil, ErrAnswer.With("%s: not one uncompressed message", s.name)
	}
	return answer[prefix:], nil
}

// left is how long the server may take, in the form of a header.
func (s *server) left(ctx context.Context) (string, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return "", false
	}
	ms := max(s.clock.Until(deadline).Milliseconds(), 1)
	return strconv.FormatInt(min(ms, 99_999_999), 10) + "m", true
}

// outcome reads the status of a call, which is in the trailers, or in the header
// if there is no message.
func (s *server) outcome(res *http.Response) error {
	text := res.Trailer.Get("Grpc-Status")
	if text == "" {
		text = res.Header.Get("Grpc-Status")
	}
	code, err := strconv.ParseUint(text, 10, 8)
	switch {
	case err != nil:
		return ErrAnswer.With("%s: no status", s.name)
	case code == codeOK:
		return nil
	case code == codePermissionDenied || code == codeUnauthenticated:
		return ErrRefused.With("%s: gRPC status %d", s.name, code)
	case code == codeUnavailable || code == codeDeadline:
		return ErrUnreachable.With("%s: gRPC status %d", s.name, code)
	}
	return ErrAnswer.With("%s: gRPC status %d", s.name, code)
}

// unreachable names a call that got no answer.
func (s *server) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return ErrUnreachable.Wrap(fmt.Errorf("%s: %w", s.name, err))
}
