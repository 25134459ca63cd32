package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	key1 = "0xa1cec75a3f0661e99299274182938151e8433c61a19222347ea1313d839229cb4ce4e3e5aa2bdeb71c8fcf1b084963c2"
	key2 = "0xa119589bb33ef52acbb8116832bec2b58fca590fe5c85eac5d3230b44d5bc09fe73ccd21f88eab31d6de16194d17782e"

	top = "chain = \"Hoodi\"\n"
	one = "[[relays]]\nurl = \"https://" + key1 + "@a.org\"\n"

	complete = top + one + `constraints = true
[signer.local.loader]
keys_path = "k"
secrets_path = "s"
format = "teku"
[signer.local.store]
keys_path = "pk"
secrets_path = "ps"
[beacon]
url = "http://127.0.0.1:5052"
[execution]
url = "http://127.0.0.1:8545"
[gateway]
[metrics]
[audit]
[ledger]
`
)

func relayLine(key, host string) string {
	return fmt.Sprintf("[[relays]]\nurl = \"http://%s@%s\"\n", key, host)
}

func module(id, kind string, signing byte) string {
	return fmt.Sprintf("[[modules]]\nid = %q\ntype = %q\nsigning_id = \"0x%064x\"\n", id, kind, signing)
}

func mux(id, rest string) string {
	return fmt.Sprintf("[[mux]]\nid = %q\n%s\n[[mux.relays]]\nid = \"m\"\nurl = \"https://%s@m.org\"\n", id, rest, key2)
}

// Each case is a file and what must be said about it, with line and key.
var wrong = map[string]struct{ file, want string }{
	"syntax":            {"chain = \n", "f:1: column "},
	"duplicate key":     {top + top, "f:2: chain is here twice, first on line 1"},
	"duplicate table":   {top + "[pbs]\n[metrics]\n[pbs]\n", "f:4: [pbs] is here twice, first on line 2"},
	"empty":             {"", "f: chain: is missing"},
	"no relays":         {top, "f: relays: at least one [[relays]] is needed"},
	"unknown table":     {top + one + "[[muxs]]\n", `f:4: muxs: is not a key here; did you mean mux?`},
	"unknown key":       {top + "[pbs]\nmin_bid = 1\n" + one, `f:3: pbs.min_bid: is not a key here; did you mean min_bid_eth?`},
	"near key":          {top + one + "frequency_get_headers_ms = 3\n", "f:4: relays[0].frequency_get_headers_ms: is not a key here; did you mean frequency_get_header_ms?"},
	"metrics port":      {top + one + "[metrics]\nport = 1\n", "f:5: metrics.port: is not a key here; did you mean start_port?"},
	"misplaced key":     {top + one + "relay_check = true\n", "f:4: relays[0].relay_check: is not a key here; it belongs to [pbs]"},
	"type":              {top + "[pbs]\nport = \"x\"\n" + one, "f:3: pbs.port: is a string, want an integer"},
	"range":             {top + "[pbs]\nport = 65536\n" + one, "f:3: pbs.port: is not within 0 to 65535"},
	"negative":          {top + "[pbs]\ntimeout_get_header_ms = -1\n" + one, "f:3: pbs.timeout_get_header_ms: is not within range"},
	"array for table":   {top + "[[pbs]]\n" + one, "f:2: pbs: is an array, want a table"},
	"second node":       {top + one + "[execution]\nurl = \"http://a:1\"\nsecond_url = \"http://a:1\"\n", "f:6: execution.second_url: is the same node as execution.url"},
	"second node's URL": {top + one + "[execution]\nsecond_url = \"ftp://a\"\n", "f:5: execution.second_url: is not a URL"},
	"zero timeout":      {top + "[pbs]\ntimeout_get_payload_ms = 0\n" + one, "f:3: pbs.timeout_get_payload_ms: is not within 1 to 60000 ms"},
	"header not < late": {top + "[pbs]\ntimeout_get_header_ms = 2000\n" + one, "f:3: pbs.timeout_get_header_ms: is not below late_in_slot_time_ms (2000)"},
	"min bid":           {top + "[pbs]\nmin_bid_eth = 1.0\n" + one, "f:3: pbs.min_bid_eth: is not below 1"},
	"min bid negative":  {top + "[pbs]\nmin_bid_eth = -0.1\n" + one, "pbs.min_bid_eth: is not a plain decimal"},
	"min bid infinite":  {top + "[pbs]\nmin_bid_eth = inf\n" + one, "pbs.min_bid_eth: is not a plain decimal"},
	"min bid too fine":  {top + "[pbs]\nmin_bid_eth = \"0.0000000000000000001\"\n" + one, "pbs.min_bid_eth: is finer than one wei"},
	"max value zero":    {top + "[pbs]\nmax_value_eth = 0\n" + one, "pbs.max_value_eth: is 0"},
	"max value huge":    {top + "[pbs]\nmax_value_eth = \"" + strings.Repeat("9", 70) + "\"\n" + one, "pbs.max_value_eth: is too large"},
	"batch zero":        {top + "[pbs]\nvalidator_registration_batch_size = 0\n" + one, "f:3: pbs.validator_registration_batch_size: is not a number from 1 on"},
	"batch in relay":    {top + one + "validator_registration_batch_size = 3\n", "f:4: relays[0].validator_registration_batch_size: is obsolete here"},
	"retry limit":       {top + "[pbs]\nregister_validator_retry_limit = 0\n" + one, "pbs.register_validator_retry_limit: is not within"},
	"refresh":           {top + "[pbs]\nmux_registry_refresh_interval_seconds = 0\n" + one, "pbs.mux_registry_refresh_interval_seconds: is not within"},
	"extra validation":  {top + "[pbs]\nextra_validation_enabled = true\n" + one, "pbs.extra_validation_enabled: needs rpc_url"},
	"host name":         {top + "[pbs]\nhost = \"example.org\"\n" + one, "f:3: pbs.host: is not an IP address"},
	"rpc url":           {top + "[pbs]\nrpc_url = \"localhost:8545\"\n" + one, "pbs.rpc_url: is not a URL"},

	"url missing":         {top + "[[relays]]\nid = \"a\"\n", "f:2: relays[0].url: is missing"},
	"url without key":     {top + "[[relays]]\nurl = \"https://a.org\"\n", "f:3: relays[0].url: has no public key"},
	"url short key":       {top + relayLine("0xa1", "a.org"), "relays[0].url: has a public key that is not 48 bytes"},
	"url key infinity":    {top + relayLine("0xc0"+strings.Repeat("0", 94), "a.org"), "relays[0].url: has a public key that is not a compressed"},
	"url scheme":          {top + "[[relays]]\nurl = \"ftp://" + key1 + "@a.org\"\n", "relays[0].url: is not http or https"},
	"url password":        {top + relayLine(key1+":secret", "a.org"), "relays[0].url: has a password"},
	"url port":            {top + relayLine(key1, "a.org:70000"), "relays[0].url: has a port that is none"},
	"relay twice":         {top + one + one, "f:5: relays[1].url: is the relay of relays[0] too"},
	"relay id twice":      {top + one + "id = \"x\"\n" + relayLine(key2, "b.org") + "id = \"x\"\n", `f:7: relays[1].id: "x" is also the id of relays[0]`},
	"relay id in mux":     {top + one + "id = \"m\"\n" + mux("a", `loader = "f"`), `mux[0].relays[0].id: "m" is also the id of relays[0]`},
	"target after late":   {top + one + "enable_timing_games = true\ntarget_first_request_ms = 2000\n", "f:5: relays[0].target_first_request_ms: is not below"},
	"frequency zero":      {top + one + "enable_timing_games = true\nfrequency_get_header_ms = 0\n", "relays[0].frequency_get_header_ms: is below 10"},
	"get_header":          {top + one + "get_header = \"ws\"\n", "relays[0].get_header: is not http or stream"},
	"dialect":             {top + one + "constraints_dialect = \"x\"\n", "relays[0].constraints_dialect: is not spec or fabric"},
	"header name":         {top + one + "headers = { \"a b\" = \"c\" }\n", "relays[0].headers.a b: is not a header name"},
	"header value":        {top + one + "headers = { A = \"b\\r\\nC: d\" }\n", "relays[0].headers.A: has a line break"},
	"header host":         {top + one + "headers = { Host = \"b\" }\n", "relays[0].headers.Host: is set by the connection"},
	"chain name":          {"chain = \"Helder\"\n" + one, `f:1: chain: "Helder" is no network`},
	"chain type":          {"chain = 3\n" + one, "f:1: chain: is an integer, want a table"},
	"chain empty":         {"chain = {}\n" + one, "f:1: chain.genesis_time_secs: is missing"},
	"chain custom":        {"chain = { genesis_time_secs = 1, slot_time_secs = 12, genesis_fork_version = \"0x00\", fulu_fork_slot = 0, chain_id = 1 }\n" + one, "f:1: chain.genesis_fork_version: is not 4 bytes"},
	"chain two slots":     {"chain = { genesis_time_secs = 1, slot_time_secs = 1, slot_time_ms = 2, genesis_fork_version = \"0x00000000\", fulu_fork_slot = 0, chain_id = 1 }\n" + one, "chain.slot_time_secs: one of"},
	"chain slot zero":     {"chain = { genesis_time_secs = 1, slot_time_secs = 0, genesis_fork_version = \"0x00000000\", fulu_fork_slot = 0, chain_id = 1 }\n" + one, "chain: slot duration"},
	"chain id":            {"chain = { genesis_time_secs = 1, slot_time_secs = 1, genesis_fork_version = \"0x00000000\", fulu_fork_slot = 0, chain_id = \"0xzz\" }\n" + one, "chain.chain_id: is not a chain id"},
	"chain path":          {"chain = { genesis_time_secs = 1, path = \"testdata/none.json\" }\n" + one, "chain.path: open testdata/none.json"},
	"chain path no spec":  {"chain = { genesis_time_secs = 1, path = \"testdata/README.md\" }\n" + one, "chain.path: testdata/README.md: spec is not"},
	"chain path, numbers": {"chain = { genesis_time_secs = 1, path = \"testdata/hoodi_spec.json\", chain_id = 1 }\n" + one, "chain.chain_id: is read from the spec file"},
	"chain path, no time": {"chain = { path = \"testdata/hoodi_spec.json\" }\n" + one, "chain.genesis_time_secs: is missing"},

	"mux without id":      {top + one + "[[mux]]\nloader = \"f\"\n", "f:4: mux[0].id: is missing"},
	"mux without relays":  {top + one + "[[mux]]\nid = \"a\"\nloader = \"f\"\n", "f:4: mux[0].relays: at least one"},
	"mux without keys":    {top + one + mux("a", ""), "f:4: mux[0].validator_pubkeys: is empty, and there is no loader"},
	"mux id twice":        {top + one + mux("a", `loader = "f"`) + mux("a", `loader = "f"`), `mux[1].id: "a" is also the id of mux[0]`},
	"mux keys shared":     {top + one + mux("a", `validator_pubkeys = ["`+key1+`"]`) + mux("b", "validator_pubkeys = [\n\""+key2+"\",\n\""+key1+"\"]"), "f:14: mux[1].validator_pubkeys[1]: is in mux[0] too"},
	"mux key length":      {top + one + mux("a", `validator_pubkeys = ["0xa1"]`), "f:6: mux[0].validator_pubkeys[0]: is not 48 bytes"},
	"mux key infinity":    {top + one + mux("a", `validator_pubkeys = ["0xc0`+strings.Repeat("0", 94)+`"]`), "mux[0].validator_pubkeys[0]: is not a compressed"},
	"mux timeout":         {top + one + mux("a", "loader = \"f\"\nlate_in_slot_time_ms = 900"), "mux[0].timeout_get_header_ms: 950 is not below late_in_slot_time_ms (900)"},
	"mux timeout zero":    {top + one + mux("a", "loader = \"f\"\ntimeout_get_header_ms = 0"), "f:7: mux[0].timeout_get_header_ms: is not within"},
	"loader empty":        {top + one + mux("a", "loader = {}"), "mux[0].loader: needs a path, or one of url and registry"},
	"loader both":         {top + one + mux("a", `loader = { url = "https://a", registry = "ssv" }`), "mux[0].loader: needs a path, or one of"},
	"loader no operator":  {top + one + mux("a", `loader = { registry = "ssv" }`), "mux[0].loader.node_operator_id: is missing"},
	"loader registry":     {top + one + mux("a", `loader = { registry = "rocket", node_operator_id = 1 }`), `mux[0].loader.registry: "rocket" is not lido`},
	"loader lido rpc":     {top + one + mux("a", `loader = { registry = "lido", node_operator_id = 1 }`), "mux[0].loader.registry: Lido needs pbs.rpc_url"},
	"loader stader chain": {top + one + mux("a", `loader = { registry = "stader", node_operator_id = 1, stader_pool = "permissioned" }`), "Stader is on Mainnet only"},
	"loader stader pool":  {`chain = "mainnet"` + "\n" + one + mux("a", `loader = { registry = "stader", node_operator_id = 1 }`), "mux[0].loader.stader_pool: is not permissioned"},
	"loader url refresh":  {top + one + mux("a", `loader = { url = "https://a.org", enable_refreshing = true }`), "enable_refreshing: is for registries"},

	"remote url":         {top + one + "[signer.remote]\n", "signer.remote.url: is missing"},
	"remote http":        {top + one + "[signer.remote]\nurl = \"http://10.0.0.1:9000\"\n", "signer.remote.url: is not https"},
	"remote half a cert": {top + one + "[signer.remote]\nurl = \"https://a\"\ncert_path = \"c\"\n", "signer.remote.key_path: and cert_path"},
	"remote timeout":     {top + one + "[signer.remote]\nurl = \"https://a\"\ntimeout_ms = 0\n", "signer.remote.timeout_ms: is not within"},
	"dirk cert":          {top + one + "[signer.dirk]\n", "signer.dirk.cert_path: is missing"},
	"dirk key":           {top + one + "[signer.dirk]\n", "signer.dirk.key_path: is missing"},
	"dirk hosts":         {top + one + "[signer.dirk]\n", "signer.dirk.hosts: is missing"},
	"dirk size":          {top + one + "[signer.dirk]\nmax_response_size_bytes = 1\n", "signer.dirk.max_response_size_bytes: is not within"},
	"dirk timeout":       {top + one + "[signer.dirk]\ntimeout_ms = 13000\n", "signer.dirk.timeout_ms: is not within"},
	"dirk http":          {top + one + "[[signer.dirk.hosts]]\nurl = \"http://a\"\n", "signer.dirk.hosts[0].url: is not a URL with https"},
	"dirk wallets":       {top + one + "[[signer.dirk.hosts]]\nurl = \"https://a\"\n", "signer.dirk.hosts[0].wallets: is empty"},
	"dirk twice":         {top + one + strings.Repeat("[[signer.dirk.hosts]]\nurl = \"https://a\"\n", 2), "signer.dirk.hosts[1].url: is also the url of signer.dirk.hosts[0]"},
	"two stores":         {top + one + "[signer.local.loader]\nkey_path = \"a\"\n[signer.local.store]\nproxy_dir = \"x\"\n[signer.dirk.store]\nproxy_dir = \"y\"\n", "signer.dirk.store: is a second store"},
	"signer empty":       {top + one + "[signer]\n", "f:4: signer: needs one of [signer.local.loader]"},
	"signer loader both": {top + one + "[signer.local.loader]\nkey_path = \"a\"\nkeys_path = \"b\"\n", "signer.local.loader: has key_path and keys_path"},
	"signer format":      {top + one + "[signer.local.loader]\nkeys_path = \"b\"\nsecrets_path = \"c\"\nformat = \"x\"\n", "signer.local.loader.format: is not lighthouse, teku"},
	"signer store":       {top + one + "[signer.local.loader]\nkey_path = \"b\"\n[signer.local.store]\nkeys_path = \"x\"\n", "signer.local.store.secrets_path: is missing"},

	"module without id":      {top + one + "[[modules]]\ntype = \"commit\"\nsigning_id = \"0x" + strings.Repeat("1", 64) + "\"\n", "modules[0].id: is missing"},
	"module without signing": {top + one + "[[modules]]\nid = \"a\"\ntype = \"commit\"\n", "f:4: modules[0].signing_id: is missing"},
	"module zero signing":    {top + one + module("a", "commit", 0), "modules[0].signing_id: is zero"},
	"module id twice":        {top + one + module("a", "commit", 1) + module("a", "commit", 2), `modules[1].id: "a" is also the id of modules[0]`},
	"module signing twice":   {top + one + module("a", "commit", 1) + module("b", "commit", 1), "modules[1].signing_id: is also the signing_id of modules[0]"},
	"module type":            {top + one + module("a", "events", 1), `f:6: modules[0].type: "events" is not commit, remote, inclusion or echo`},
	"module unknown key":     {complete + module("a", "inclusion", 1) + "sleep_secs = 5\n", "modules[0].sleep_secs: is not a key here"},
	"inclusion alone":        {top + one + module("a", "inclusion", 1), "signer: is needed by modules"},
	"inclusion, no beacon":   {top + one + module("a", "inclusion", 1), "beacon.url: is needed by modules"},
	"gateway alone":          {top + one + "[gateway]\n", "f:4: gateway: needs a module"},
	"gateway rate":           {complete + module("a", "inclusion", 1) + "[gateway.access]\nrate_per_second = -1\n", "gateway.access.rate_per_second: is not within"},
	"gateway burst":          {complete + module("a", "inclusion", 1) + "[gateway.access]\nburst = 0\n", "gateway.access.burst: is not within"},
	"gateway places":         {complete + module("a", "inclusion", 1) + "[gateway.access]\nmax_requests = 0\n", "gateway.access.max_requests: is not within"},
	"gateway trusts all":     {complete + module("a", "inclusion", 1) + "[gateway.access]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", "is everybody"},
	"gateway proxy":          {complete + module("a", "inclusion", 1) + "[gateway.access]\ntrusted_proxies = [\"10.0.0.1\"]\n", "gateway.access.trusted_proxies"},
	"gateway header":         {complete + module("a", "inclusion", 1) + "[gateway.access]\nforwarded_header = \"a b\"\n", "is not the name of a header"},
	"gateway origin":         {complete + module("a", "inclusion", 1) + "[gateway.access]\ncors_origins = [\"https://a.example/x\"]\n", "is not an origin"},
	"gateway lead":           {complete + module("a", "inclusion", 1) + "[gateway.x]\n", "gateway.x: is not a key here"},
	"audit":                  {top + one + "[audit]\nafter_slots = 0\n", "audit.after_slots: is not within 1 to 8192"},
	"log level":              {top + one + "[logs.stdout]\nlevel = \"loud\"\n", "logs.stdout.level: is not trace"},
	"same port":              {top + one + "[metrics]\nstart_port = 18550\n", "f:5: metrics.start_port: 18550 is the port of pbs too"},
	"brackets":               {strings.Repeat("[", maxBrackets+1), "brackets"},
}

func TestParse_Wrong(t *testing.T) {
	for name, c := range wrong {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.file), nil)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			var errs Errors
			if errors.As(err, &errs) {
				for i := range errs {
					for j := range errs[:i] {
						if errs[i].Key == errs[j].Key {
							t.Errorf("%s is reported twice: %v", errs[i].Key, err)
						}
					}
				}
			}
		})
	}
}

// TestParse_Everything: all that is wrong is said at once, by line.
func TestParse_Everything(t *testing.T) {
	file := "chain = \"Helder\"\nextra = 1\n[pbs]\nport = true\nhost = \"x\"\nlate_in_slot_time_ms = 0\n[[relays]]\nurl = \"a\"\nid = 3\n" +
		"[[mux]]\nid = \"m\"\nvalidator_pubkeys = [\"" + key1 + "\"]\n" + strings.Replace(one, "[[", "[[mux.", 1) // its times are those of [pbs]
	_, err := Parse("f.toml", []byte(file), nil)
	want := `f.toml:1: chain: "Helder" is no network; Mainnet, Holesky, Sepolia and Hoodi are
f.toml:2: extra: is not a key here
f.toml:4: pbs.port: is a boolean, want an integer
f.toml:5: pbs.host: is not an IP address
f.toml:6: pbs.late_in_slot_time_ms: is not within 1 to 3600000 ms
f.toml:8: relays[0].url: is not scheme://0xPUBKEY@host
f.toml:9: relays[0].id: is an integer, want a string`
	got := err.Error()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

// TestParse_Secrets: what may be secret is not repeated in messages.
func TestParse_Secrets(t *testing.T) {
	file := top + "[pbs]\nrpc_url = \"user:hunter2@x\"\n" + relayLine(key1+":hunter2", "a.org") + "headers = { A = \"hunter2\\r\\n\" }\n"
	_, err := Parse("f", []byte(file), nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestParse_RelayNames(t *testing.T) {
	c, err := Parse("f", []byte(top+relayLine(key1, "h:1")+relayLine(key1, "h:2")+relayLine(key2, "h:2")+relayLine(key2, "x.org")+
		"[[mux]]\nid = \"m\"\nloader = \"f\"\n"+strings.ReplaceAll(relayLine(key2, "x.org"), "[[relays", "[[mux.relays")), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range append(c.Relays, c.Muxes[0].Relays...) {
		got = append(got, r.ID)
	}
	if want := "h:1 h:2 h:2-0xa119589b x.org x.org"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestParse_Amounts(t *testing.T) {
	for text, want := range map[string]string{
		"0.1": "100000000000000000", `"0.000000000000000001"`: "1", "0.07": "70000000000000000", "0": "0", `"0.50"`: "500000000000000000",
		"0.999_999": "999999000000000000", "+0.5": "500000000000000000",
	} {
		c, err := Parse("f", []byte(top+"[pbs]\nmin_bid_eth = "+text+"\n"+one), nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.PBS.MinBid.Dec(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(complete + moduleFile))
	for _, c := range wrong {
		if len(c.file) < 4096 {
			f.Add([]byte(c.file))
		}
	}
	f.Add([]byte("a.b.c = {d.e = [1, {f = 1979-05-27}]}\n[a.x]\n[[a.y]]\n[a.y.z]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, nil)
		var errs Errors
		switch {
		case err == nil && (c.Chain().Validate() != nil || len(c.Relays) == 0):
			t.Error("accepted without chain or relays")
		case err != nil && (!errors.As(err, &errs) || len(errs) == 0):
			t.Errorf("no Errors: %v", err)
		}
	})
}
