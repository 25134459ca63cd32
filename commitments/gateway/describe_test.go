package gateway

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidecar/commitments"
)

var update = flag.Bool("update", false, "write docs/gateway-api.json and docs/gateway-rpc.json anew")

// schema is the part of JSON Schema that the documents use.
type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Pattern    string
	Enum       []string
	OneOf      []schema
	Items      *schema
	Required   []string
	Properties map[string]schema
}

type media map[string]struct{ Schema schema }

type openAPIDoc struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		RequestBody *struct{ Content media }
		Responses   map[string]struct {
			Ref         string `json:"$ref"`
			Description string
			Content     media
		}
	}
	Components struct {
		Schemas   map[string]schema
		Responses map[string]struct {
			Description string
			Content     media
		}
	}
}

// valid checks a decoded value; unknown fields of objects are errors.
func valid(s schema, all map[string]schema, v any) error {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		found, ok := all[name]
		if !ok {
			return fmt.Errorf("no schema %s", name)
		}
		return valid(found, all, v)
	}
	switch x := v.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := x[name]; !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
		for name, value := range x {
			p, ok := s.Properties[name]
			if !ok && s.Properties != nil {
				return fmt.Errorf("%s is not documented", name)
			}
			if err := valid(p, all, value); ok && err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		for _, value := range x {
			if s.Items == nil {
				return fmt.Errorf("a list, want %s", s.Type)
			}
			if err := valid(*s.Items, all, value); err != nil {
				return err
			}
		}
	case string:
		if s.Type != "" && s.Type != "string" || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(x) || s.Enum != nil && !slices.Contains(s.Enum, x) {
			return fmt.Errorf("%q is not a %s %s %v", x, s.Type, s.Pattern, s.Enum)
		}
	case json.Number:
		if s.Type != "" && s.Type != "integer" {
			return fmt.Errorf("%s, want %s", x, s.Type)
		}
	case bool:
		if s.Type != "" && s.Type != "boolean" {
			return fmt.Errorf("%v, want %s", x, s.Type)
		}
	}
	return nil
}

func decodeAny(t *testing.T, text string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// TestDescribe: every route and every method is described and no other, docs
// hold the same files, and both are served.
func TestDescribe(t *testing.T) {
	h := open(t)
	url := h.serve()
	for docs, text := range map[string][]byte{"../../docs/gateway-api.json": openAPI, "../../docs/gateway-rpc.json": openRPC} {
		if *update {
			if err := os.WriteFile(docs, text, 0o644); err != nil { // #nosec G306 -- a document
				t.Fatal(err)
			}
		}
		if b, err := os.ReadFile(docs); err != nil || !bytes.Equal(b, text) {
			t.Errorf("%s is another file (%v); go test ./commitments/gateway -run TestDescribe -update", docs, err)
		}
	}
	for path, want := range map[string][]byte{"/openapi.json": openAPI, "/openrpc.json": openRPC} {
		if status, body := ask(t, "GET", url+path, "", ""); status != 200 || body != string(want) {
			t.Errorf("%s: got %d, %d bytes", path, status, len(body))
		}
	}
	var d openAPIDoc
	if err := json.Unmarshal(openAPI, &d); err != nil || d.OpenAPI != "3.1.0" {
		t.Fatalf("%q, %v", d.OpenAPI, err)
	}
	documented := 0
	for _, methods := range d.Paths {
		documented += len(methods)
	}
	routes := h.Routes()
	if documented != len(routes) {
		t.Errorf("%d operations, %d routes", documented, len(routes))
	}
	for _, r := range routes {
		o, ok := d.Paths[r.Path][strings.ToLower(r.Method)]
		if !ok || o.OperationID != r.Name || (o.RequestBody != nil) != (r.MaxBody > 0) {
			t.Errorf("%s %s is not described as %s", r.Method, r.Path, r.Name)
		}
	}
	var rpc struct{ Methods []struct{ Name string } }
	if err := json.Unmarshal(openRPC, &rpc); err != nil {
		t.Fatal(err)
	}
	overSocket := []string{"preconf_subscribe", "preconf_unsubscribe"}
	for _, m := range rpc.Methods {
		_, body := ask(t, "POST", url, "", `{"jsonrpc":"2.0","id":1,"method":"`+m.Name+`","params":["0x"]}`)
		if unknown := strings.Contains(body, `"code":-32601`); unknown != slices.Contains(overSocket, m.Name) {
			t.Errorf("%s: got %s", m.Name, body)
		}
	}
	if len(rpc.Methods) < 10 {
		t.Errorf("%d methods", len(rpc.Methods))
	}
	if _, body := ask(t, "POST", url, "", `{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}`); !strings.Contains(body, `"openrpc":"1.3.2"`) {
		t.Errorf("rpc.discover: %.200s", body)
	}
}

// TestDescribe_Answers: what is answered, good or bad, is as described.
func TestDescribe_Answers(t *testing.T) {
	h, _ := openPriced(t)
	url := h.serve()
	var d openAPIDoc
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	good, hash := text(t, request('a', 1)), request('a', 1).Hash()
	if status, body := ask(t, "POST", url+rest+"commitmentRequest", "", good); status != 200 {
		t.Fatal(body)
	}
	for _, r := range h.Routes() {
		if r.Stream != nil {
			continue
		}
		o := d.Paths[r.Path][strings.ToLower(r.Method)]
		path := strings.Replace(r.Path, "{request_hash}", fmt.Sprintf("%#x", hash[:]), 1)
		none := strings.Replace(r.Path, "{request_hash}", "0x"+strings.Repeat("00", 32), 1)
		tries := [][3]string{{path, "", ""}, {none, "", ""}, {strings.Replace(r.Path, "{request_hash}", "0x", 1), "", ""}}
		if r.MaxBody > 0 {
			tries = [][3]string{{path, "", good}, {path, "", "{"}, {path, "", `{"commitment_type":7,"payload":"0x","slasher":"0x` + strings.Repeat("00", 20) + `"}`}, {path, "text/plain", good}, {path, "", strings.Repeat(" ", r.MaxBody+1)}}
		}
		if r.Name == "json_rpc" {
			tries = append(tries, [3]string{path, "", `{"jsonrpc":"2.0","id":1,"method":"commitmentRequest","params":[` + good + `]}`}, [3]string{path, "", `{"jsonrpc":"2.0","method":"slots"}`})
		}
		for i, try := range tries {
			status, body := ask(t, r.Method, url+try[0], try[1], try[2])
			response, ok := o.Responses[strconv.Itoa(status)]
			content := response.Content
			if response.Ref != "" {
				content = d.Components.Responses[response.Ref[strings.LastIndex(response.Ref, "/")+1:]].Content
			}
			if !ok || i == 0 && status != http.StatusOK {
				t.Errorf("%s %s answers %d %.200s, which is not described", r.Method, try[0], status, body)
				continue
			}
			if body == "" {
				continue
			}
			if err := valid(content["application/json"].Schema, d.Components.Schemas, decodeAny(t, body)); err != nil {
				t.Errorf("%s %s %d: %v: %.300s", r.Method, try[0], status, err, body)
			}
		}
	}
	one := life(newStory(200).sealed().posted("r1", "accepted").served(7).verdict(commitments.Broken, "absent").facts)
	if err := valid(schema{Ref: "#/components/schemas/Update"}, d.Components.Schemas, decodeAny(t, text(t, commitments.Update{ID: "1-x", Step: one.Steps[3], Status: one}))); err != nil {
		t.Error(err)
	}
}
