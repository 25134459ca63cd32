package moduletest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// hearTries bounds how often a module is told the same events until it has dealt
// with them.
const hearTries = 8

// events wants of a module that is told of events that each is dealt with, in
// order, once or again. One that is not told of any answers 404. It leaves the
// module where it has heard of none, so that it is told again what it was told.
func (w wire) events(ctx context.Context) error {
	status, _, err := w.hear(ctx, 0, "", false)
	if err != nil || status == http.StatusNotFound {
		return err
	}
	var p problems
	tell := func(what string, after uint64, list string, anew bool, want uint64) {
		got, err := uint64(0), error(nil)
		for n := 0; n < hearTries; n++ {
			if n > 0 && !rest(ctx, 50*time.Millisecond) {
				break
			}
			if status, got, err = w.hear(ctx, after, list, anew); err != nil || status == http.StatusOK && got == want {
				break
			}
		}
		if err != nil || status != http.StatusOK || got != want {
			p.addf("%s: status %d, after %d, %v; want 200 and after %d", what, status, got, err, want)
		}
	}
	of := func(seqs ...uint64) string {
		var list []string
		for _, n := range seqs {
			list = append(list, fmt.Sprintf(`{"seq":%d,"kind":"added_later","at_ms":1,"slot":%d,"proposer":"0x%096d","block_hash":"0x%064d","relay":"","more":{}}`, n, n, 0, 0))
		}
		return strings.Join(list, ",")
	}
	tell("the numbers begin anew", 0, "", true, 0)
	tell("events 1, 2 and 4", 0, of(1, 2, 4), false, 4)
	tell("the same again", 0, of(1, 2, 4), false, 4)
	tell("some again, and event 5", 2, of(4, 5), false, 5)
	tell("no events", 5, "", false, 5)
	tell("events 8 and 9, without 6 and 7", 7, of(8, 9), false, 5)
	tell("the numbers begin anew once more", 0, "", true, 0)
	return p.err()
}

// rest waits, and says whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hear tells events, and returns which was the last that the module dealt with.
func (w wire) hear(ctx context.Context, after uint64, list string, anew bool) (status int, last uint64, err error) {
	body := fmt.Sprintf(`{"after":%d,"events":[%s],"unknown":%t}`, after, list, anew)
	status, text, err := w.do(ctx, http.MethodPost, "/module/v1/events", string(w.secret), "application/json", body)
	if err != nil || status != http.StatusOK {
		return status, 0, err
	}
	var answer map[string]uint64
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return status, 0, fmt.Errorf("%.200s: %w", text, err)
	}
	last, is := answer["after"]
	if !is || len(answer) != 1 {
		return status, 0, fmt.Errorf("%.200s: want after, and nothing else", text)
	}
	return status, last, nil
}
