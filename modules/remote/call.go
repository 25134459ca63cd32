package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"sidecar/fault"
	"sidecar/internal/fetch"
	"sidecar/modules"
)

// The paths under a module's URL, and the header that says how many
// milliseconds the sidecar will wait for the answer.
const (
	path          = "/module/v1/"
	opInfo        = "info"
	opSlot        = "slot"
	opCommit      = "commit"
	opVerify      = "verify"
	opAudit       = "audit"
	opPrice       = "price"
	opEvents      = "events"
	timeoutHeader = "X-Timeout-Ms"
	mediaJSON     = "application/json"
)

// post makes one call. Faults: this package's, the module's.
func (m *client) post(ctx context.Context, hc *http.Client, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", op, err)
	}
	if int64(len(body)) > m.limits.ask {
		return ErrAskTooLarge.With("%s of %d bytes, at most %d", op, len(body), m.limits.ask)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.base+op, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", mediaJSON)
	req.Header.Set("Accept", mediaJSON)
	req.Header.Set("Authorization", "Bearer "+string(m.secret))
	// Every question may be asked twice: one that meets a connection which the
	// module has just closed is asked again. The key itself is not sent.
	// [net/http: Transport, Idempotency-Key]
	req.Header["Idempotency-Key"] = nil
	if d, ok := ctx.Deadline(); ok {
		if left := m.clock.Until(d); left > 0 {
			req.Header.Set(timeoutHeader, strconv.FormatInt(max(left.Milliseconds(), 1), 10))
		}
	}
	status, header, answer, err := fetch.Do(ctx, hc, req, m.limits.answer)
	switch {
	case errors.Is(err, fetch.ErrTimeout) && ctx.Err() != nil:
		return ctx.Err() // the budget's name is given by who set it
	case errors.Is(err, fetch.ErrTooLarge), errors.Is(err, fetch.ErrRedirect), errors.Is(err, fetch.ErrEncoding):
		return ErrAnswer.Wrap(err)
	case err != nil:
		return ErrUnreachable.Wrap(err)
	case status == http.StatusNotFound && op == opPrice:
		return modules.ErrUnpriced.With("module %s", m.info.ID) // it may be of before there were prices
	case status == http.StatusNotFound && op == opEvents:
		return errDeaf
	case status != http.StatusOK:
		return m.problem(status, header, answer)
	case !isJSON(header):
		return ErrAnswer.With("content type %.40q", header.Get("Content-Type"))
	}
	return strict(answer, out)
}

func isJSON(h http.Header) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && t == mediaJSON
}

// strict decodes one JSON value and nothing behind it. A field that the schema
// does not have is refused: it would be a promise we do not understand.
func strict(text []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return ErrAnswer.Wrap(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrAnswer.With("more than one value")
	}
	return nil
}

// problemJSON is the body of every answer but 200, as everywhere in the sidecar.
type problemJSON struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
}

// kinds says which statuses carry a module's own reason, and what they become.
var kinds = map[int]fault.Kind{
	http.StatusBadRequest: fault.Invalid, http.StatusNotFound: fault.NotFound, http.StatusConflict: fault.Conflict,
	http.StatusUnprocessableEntity: fault.Rejected, http.StatusTooManyRequests: fault.Busy,
	http.StatusBadGateway: fault.Upstream, http.StatusServiceUnavailable: fault.Unavailable, http.StatusGatewayTimeout: fault.Timeout,
}

var reasonForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// problem is the fault that an answer other than 200 stands for. Only the status
// decides its kind: a module cannot make its refusal look like ours.
func (m *client) problem(status int, header http.Header, body []byte) error {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return ErrSecret.With("status %d", status)
	}
	var p problemJSON
	if !isJSON(header) || json.Unmarshal(body, &p) != nil || !reasonForm.MatchString(p.Reason) {
		return ErrFailed.With("status %d", status)
	}
	text := clean(p.Message)
	kind, ours := kinds[status]
	switch {
	case status == http.StatusInternalServerError && p.Reason == modules.ErrPanic.Code:
		return modules.ErrPanic.With("%s", text)
	case !ours || !m.remember(p.Reason):
		return ErrFailed.With("status %d, %s: %s", status, p.Reason, text)
	}
	return (&fault.Fault{Code: p.Reason, Kind: kind, Help: "A remote module says so."}).With("%s", text)
}

// remember bounds the reasons of a module: they are labels of metrics.
func (m *client) remember(code string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.codes[code] && len(m.codes) >= maxCodes {
		return false
	}
	m.codes[code] = true
	return true
}

const maxMessage = 300 // bytes of a message that crosses

// clean makes a foreign message one bounded line.
func clean(text string) string {
	if len(text) > maxMessage {
		text = text[:maxMessage]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
