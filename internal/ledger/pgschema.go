package ledger

// The tables, in the first schema of the connection's search_path. Every rule of
// uniqueness is a primary key, so that not even a sidecar with a fault, or two
// that both believe they lead, can write what must not be. The records are, byte
// for byte, those of the other engine; the tables behind them are indexes.
const pgTables = `
create table ledger_meta (
	one  boolean primary key default true check (one),
	body text    not null -- JSON, as it is hashed into the chain
);
create table ledger_head (
	one     boolean primary key default true check (one),
	records bigint  not null,
	entries bigint  not null,
	hash    bytea   not null check (octet_length(hash) = 32)
);
create table ledger_lease (
	one        boolean     primary key default true check (one),
	token      bigint      not null, -- fencing token: grows with every new holder
	holder     text        not null,
	expires_at timestamptz not null, -- by the clock of this server alone
	hold_until bigint      not null default 0, -- nothing new is promised for slots up to this one
	hold_reason text       not null default ''
);
create table ledger_records (
	number bigint primary key check (number > 0),
	record bytea  not null
);
create table ledger_entries (
	seq    bigint primary key check (seq > 0),
	record bigint not null unique,
	page   bytea  not null check (octet_length(page) = 56) -- slot, proposer
);
create index ledger_entries_page on ledger_entries (page, seq);
create table ledger_seals (
	seq    bigint primary key,
	record bigint not null unique
);
create table ledger_resources (
	name bytea  primary key,
	seq  bigint not null
);
create index ledger_resources_seq on ledger_resources (seq);
create table ledger_requests (
	hash bytea  primary key check (octet_length(hash) = 32),
	seq  bigint not null unique
);`

// What the writer says to the database.
const (
	// pgHold renews the lease of token $1, or takes one that ran out: one
	// statement, so that two cannot both take it. A takeover waits for a
	// transaction of the old holder that is under way, and then sees its renewal.
	// Where nobody held the lease for longer than gapAllowed, or gapVouched, the
	// ledger holds up to slot $4, whoever leads: it may be a copy, or one put back.
	pgHold = `
update ledger_lease set
	token = case when token = $1 and expires_at > clock_timestamp() then token else token + 1 end,
	hold_until = case when ` + pgGap + ` then greatest(hold_until, $4::bigint) else hold_until end,
	hold_reason = case when ` + pgGap + ` then '` + holdGap + `' else hold_reason end,
	holder = $2, expires_at = clock_timestamp() + $3::bigint * interval '1 microsecond'
where one and ((token = $1 and expires_at > clock_timestamp()) or expires_at <= clock_timestamp())
returning token`

	pgGap = `(token > 0 and expires_at < clock_timestamp() - case hold_reason when '` + holdVouched + `' then interval '10 minutes' else interval '24 seconds' end)`

	pgLook = `select h.records, h.entries, h.hash, l.token, l.holder, l.hold_until, l.hold_reason from ledger_head h, ledger_lease l where h.one and l.one`

	pgBegin = `begin isolation level serializable`

	// pgFence is the first statement of every batch: it holds the lease's row
	// until the commit, so that the lease cannot change hands in between. What is
	// written ends the operator's statement that nothing was promised elsewhere.
	pgFence = `
update ledger_lease set expires_at = clock_timestamp() + $2::bigint * interval '1 microsecond',
	hold_reason = case hold_reason when '` + holdVouched + `' then '' else hold_reason end
where one and token = $1 and expires_at > clock_timestamp() returning token`

	pgHead = `select records, entries, hash from ledger_head where one`

	// pgRelease gives the lease up, and leaves when that was.
	pgRelease = `update ledger_lease set expires_at = clock_timestamp() where one and token = $1`

	pgVouch = `
update ledger_lease set hold_until = 0, hold_reason = '` + holdVouched + `', expires_at = clock_timestamp()
where one and expires_at <= clock_timestamp()`
)

// What finds records.
const (
	pgHolders = `select name, seq from ledger_resources where name = any($1)`

	pgStored = `
select e.seq, e.record, r.record, coalesce(s.record, 0), x.record
from ledger_entries e
join ledger_records r on r.number = e.record
left join ledger_seals s on s.seq = e.seq
left join ledger_records x on x.number = s.record `

	pgBySeq  = pgStored + `where e.seq = any($1)`
	pgByName = pgStored + `where e.seq in (select seq from ledger_resources where name = any($1))`
	pgByPage = pgStored + `where e.page = $1 and e.record < $2 order by e.seq`

	pgAnswer = `select seq from ledger_requests where hash = $1`
	pgAfter  = `select number, record from ledger_records where number > $1 order by number limit $2`
)

// What a commit writes, in this order and in one journey to the server.
const (
	pgPutRecords   = `insert into ledger_records (number, record) select * from unnest($1::bigint[], $2::bytea[])`
	pgPutEntries   = `insert into ledger_entries (seq, record, page) select * from unnest($1::bigint[], $2::bigint[], $3::bytea[])`
	pgPutSeals     = `insert into ledger_seals (seq, record) select * from unnest($1::bigint[], $2::bigint[])`
	pgPutResources = `insert into ledger_resources (name, seq) select * from unnest($1::bytea[], $2::bigint[])`
	pgPutRequests  = `insert into ledger_requests (hash, seq) select * from unnest($1::bytea[], $2::bigint[]) on conflict (hash) do nothing`
	pgPutHead      = `update ledger_head set records = $1, entries = $2, hash = $3 where one and records = $4 and hash = $5`
)
