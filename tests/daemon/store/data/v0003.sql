BEGIN TRANSACTION;
CREATE TABLE acknowledgements (
	consumer VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	CONSTRAINT pk_acknowledgements PRIMARY KEY (consumer, sequence)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE changes (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	record TEXT NOT NULL, 
	row_hash VARCHAR(64) NOT NULL
);
INSERT INTO "changes" VALUES(1,'{"identity":"spiffe://north/lineside/admin/anna","method":"/lineside.v1.EngineService/DeleteEngine","outcome":"OK","prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","resource":"devices/-/engines/x","role":"admin","sequence":1,"time":"2026-03-01T12:00:00.009000Z"}','08140c83ef187dc1364db0299a274341ff63a95d79c1ff57a20acb966bc08935');
CREATE TABLE consumers (
	consumer VARCHAR NOT NULL, 
	cursor INTEGER NOT NULL, 
	CONSTRAINT pk_consumers PRIMARY KEY (consumer)
);
CREATE TABLE device_state (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	CONSTRAINT pk_device_state PRIMARY KEY ("key")
);
INSERT INTO "device_state" VALUES('chain.starts_after','0');
INSERT INTO "device_state" VALUES('keeping.witnessed_s','0');
INSERT INTO "device_state" VALUES('keeping.wall','2026-03-01T12:00:00.002000Z');
INSERT INTO "device_state" VALUES('keeping.wall_witnessed_s','0');
INSERT INTO "device_state" VALUES('evidence.bytes','0');
CREATE TABLE evidence (
	sequence INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	evidence_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (sequence, position), 
	CONSTRAINT fk_evidence_sequence_results FOREIGN KEY(sequence) REFERENCES results (sequence), 
	CONSTRAINT fk_evidence_evidence_id_evidence_files FOREIGN KEY(evidence_id) REFERENCES evidence_files (evidence_id)
);
CREATE TABLE evidence_files (
	evidence_id VARCHAR(64) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	last_sequence INTEGER NOT NULL, 
	state VARCHAR NOT NULL, keep_until_s INTEGER, 
	CONSTRAINT pk_evidence_files PRIMARY KEY (evidence_id)
);
CREATE TABLE findings (
	sequence INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	ask VARCHAR NOT NULL, 
	label VARCHAR NOT NULL, 
	is_defect BOOLEAN NOT NULL, 
	confidence FLOAT NOT NULL, 
	text VARCHAR, 
	CONSTRAINT pk_findings PRIMARY KEY (sequence, position), 
	CONSTRAINT fk_findings_sequence_results FOREIGN KEY(sequence) REFERENCES results (sequence)
);
INSERT INTO "findings" VALUES(1,0,'cap','ok',0,0.97,NULL);
CREATE TABLE intakes (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	result_id VARCHAR NOT NULL, 
	record TEXT NOT NULL, 
	CONSTRAINT uq_intakes_result_id UNIQUE (result_id)
);
CREATE TABLE job_tallies (
	job VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	total INTEGER NOT NULL, 
	CONSTRAINT pk_job_tallies PRIMARY KEY (job, verdict)
);
INSERT INTO "job_tallies" VALUES('J1','OK',1);
CREATE TABLE jobs (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	job VARCHAR NOT NULL, 
	station VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	changed INTEGER NOT NULL, 
	record TEXT NOT NULL, 
	CONSTRAINT uq_jobs_job UNIQUE (job)
);
INSERT INTO "jobs" VALUES(1,'J1','st1','RUNNING',2,'{"created_at":"2026-03-01T12:00:00.003000Z","description":"","ended_at":null,"expected":{"colour":"red"},"lot":"L1","material":"","quantity":10,"recipe":"","started_at":"2026-03-01T12:00:00.004000Z"}');
CREATE TABLE requests (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	scope VARCHAR NOT NULL, 
	request_id VARCHAR NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	outcome VARCHAR NOT NULL
);
INSERT INTO "requests" VALUES(1,'st1','call-1','abababababababababababababababababababababababababababababababab','J1');
INSERT INTO "requests" VALUES(2,'writer','e3e70682c2094cac629f6fbed82c07cd','','J1');
INSERT INTO "requests" VALUES(3,'writer','eb1167b367a9c3787c65c1e582e2e662','','1');
CREATE TABLE results (
	sequence INTEGER NOT NULL, 
	result_id VARCHAR NOT NULL, 
	station VARCHAR NOT NULL, 
	part_id VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	decided_at VARCHAR NOT NULL, 
	record TEXT NOT NULL, 
	row_hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_results PRIMARY KEY (sequence), 
	CONSTRAINT uq_results_result_id UNIQUE (result_id)
);
INSERT INTO "results" VALUES(1,'f728b4fa42485e3a0a5d2f346baa9455','press-1','P00001','OK','2026-03-01T12:00:00.007000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.006000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.007000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[],"evidence_lost":false,"expected":{"job":"J1"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":false,"label":"ok","text":null}],"frame_age_ms":12.5,"frame_index":1,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"ok":0.97},"runner_up":{"probability":0.03,"value":"ok"},"value":"ok"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00001","part_id_given":true,"prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","reasons":[],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"f728b4fa42485e3a0a5d2f346baa9455","row_hash":"d4e2da72a3ed1492c9cc26d767a621357fde0647e9aa52bc334324726339a7e5","schema":"lineside.result/1","sequence":1,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.005000Z","verdict":"OK"}','d4e2da72a3ed1492c9cc26d767a621357fde0647e9aa52bc334324726339a7e5');
CREATE TABLE reviews (
	review INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	result_id VARCHAR NOT NULL, 
	record TEXT NOT NULL
);
INSERT INTO "reviews" VALUES(1,'f728b4fa42485e3a0a5d2f346baa9455','{"answers":{"cap":"tilted"},"comment":"seen by eye","created_at":"2026-03-01T12:00:00.008000Z","evaluation":"NOT_OK","reviewer":"anna","submitted_by":"local","verdict":"OK"}');
CREATE TABLE tallies (
	station VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	total INTEGER NOT NULL, 
	CONSTRAINT pk_tallies PRIMARY KEY (station, verdict)
);
INSERT INTO "tallies" VALUES('press-1','OK',1);
CREATE INDEX ix_results_part_id ON results (part_id);
CREATE INDEX ix_results_decided_at ON results (decided_at);
CREATE INDEX ix_results_station_sequence ON results (station, sequence);
CREATE INDEX ix_results_verdict_sequence ON results (verdict, sequence);
CREATE INDEX ix_findings_label ON findings (label);
CREATE INDEX ix_evidence_files_eviction ON evidence_files (state, rank, last_sequence);
CREATE INDEX ix_evidence_evidence_id ON evidence (evidence_id);
CREATE INDEX ix_evidence_files_expiry ON evidence_files (state, keep_until_s);
CREATE UNIQUE INDEX uq_requests_scope_request_id ON requests (scope, request_id);
CREATE INDEX ix_reviews_result_id ON reviews (result_id);
CREATE INDEX ix_jobs_station_state ON jobs (station, state);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',1);
INSERT INTO "sqlite_sequence" VALUES('requests',3);
INSERT INTO "sqlite_sequence" VALUES('reviews',1);
INSERT INTO "sqlite_sequence" VALUES('changes',1);
COMMIT;
