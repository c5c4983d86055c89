BEGIN TRANSACTION;
CREATE TABLE acknowledgements (
	consumer VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	CONSTRAINT pk_acknowledgements PRIMARY KEY (consumer, sequence)
);
INSERT INTO "acknowledgements" VALUES('mqtt',3);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE consumers (
	consumer VARCHAR NOT NULL, 
	cursor INTEGER NOT NULL, 
	CONSTRAINT pk_consumers PRIMARY KEY (consumer)
);
INSERT INTO "consumers" VALUES('mqtt',1);
CREATE TABLE device_state (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	CONSTRAINT pk_device_state PRIMARY KEY ("key")
);
INSERT INTO "device_state" VALUES('chain.starts_after','0');
INSERT INTO "device_state" VALUES('keeping.witnessed_s','0');
INSERT INTO "device_state" VALUES('keeping.wall','2026-03-01T12:00:00.002000Z');
INSERT INTO "device_state" VALUES('keeping.wall_witnessed_s','0');
INSERT INTO "device_state" VALUES('evidence.bytes','21');
CREATE TABLE evidence (
	sequence INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	evidence_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (sequence, position), 
	CONSTRAINT fk_evidence_sequence_results FOREIGN KEY(sequence) REFERENCES results (sequence), 
	CONSTRAINT fk_evidence_evidence_id_evidence_files FOREIGN KEY(evidence_id) REFERENCES evidence_files (evidence_id)
);
INSERT INTO "evidence" VALUES(1,0,'2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df');
INSERT INTO "evidence" VALUES(2,0,'f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b');
INSERT INTO "evidence" VALUES(3,0,'99571c84be3c5f9b44a9ec369aae7b9519532c733fc3dd5531786af5858226d8');
CREATE TABLE evidence_files (
	evidence_id VARCHAR(64) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	last_sequence INTEGER NOT NULL, 
	state VARCHAR NOT NULL, keep_until_s INTEGER, 
	CONSTRAINT pk_evidence_files PRIMARY KEY (evidence_id)
);
INSERT INTO "evidence_files" VALUES('2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df',2,0,1,'KEPT',NULL);
INSERT INTO "evidence_files" VALUES('f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b',6,2,2,'KEPT',2592000);
INSERT INTO "evidence_files" VALUES('99571c84be3c5f9b44a9ec369aae7b9519532c733fc3dd5531786af5858226d8',13,1,3,'KEPT',7776000);
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
INSERT INTO "findings" VALUES(2,0,'cap','cracked',1,0.97,NULL);
INSERT INTO "findings" VALUES(3,0,'cap','cracked',1,0.97,NULL);
CREATE TABLE intakes (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	result_id VARCHAR NOT NULL, 
	record TEXT NOT NULL, 
	CONSTRAINT uq_intakes_result_id UNIQUE (result_id)
);
INSERT INTO "intakes" VALUES(4,'f7c1bd874da5e709d4713d60c8a70639','{"boot_id":"boot-a","camera":"cam1","expected":{"lot":"L123456A"},"frame_index":4,"is_simulated":false,"part_id":"P00004","part_id_given":true,"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"f7c1bd874da5e709d4713d60c8a70639","station":"press-1","trigger":"grpc","triggered_at":"2026-03-01T12:00:00.012000Z"}');
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
INSERT INTO "results" VALUES(1,'e3e70682c2094cac629f6fbed82c07cd','press-1','P00001','OK','2026-03-01T12:00:00.005000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.004000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.005000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":2,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":false,"label":"ok","text":null}],"frame_age_ms":12.5,"frame_index":1,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"ok":0.97},"runner_up":{"probability":0.03,"value":"ok"},"value":"ok"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00001","part_id_given":true,"prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","reasons":[],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"e3e70682c2094cac629f6fbed82c07cd","row_hash":"e218e1654e327f2ff06f54c6bd2002242d16450e6ae6a8b38fd9d6e7d013b249","schema":"lineside.result/1","sequence":1,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.003000Z","verdict":"OK"}','e218e1654e327f2ff06f54c6bd2002242d16450e6ae6a8b38fd9d6e7d013b249');
INSERT INTO "results" VALUES(2,'f728b4fa42485e3a0a5d2f346baa9455','press-1','P00002','NOT_OK','2026-03-01T12:00:00.008000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.007000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.008000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":6,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":true,"label":"cracked","text":null}],"frame_age_ms":12.5,"frame_index":2,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"cracked":0.97,"ok":0.03},"runner_up":{"probability":0.03,"value":"ok"},"value":"cracked"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00002","part_id_given":true,"prev_hash":"e218e1654e327f2ff06f54c6bd2002242d16450e6ae6a8b38fd9d6e7d013b249","reasons":[{"ask":"cap","code":"FINDING","message":"the cap is cracked"}],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"f728b4fa42485e3a0a5d2f346baa9455","row_hash":"285d628ca10baec1c258bc009ae655ec5b6655eb22fb585b61cb961ae6559a67","schema":"lineside.result/1","sequence":2,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.006000Z","verdict":"NOT_OK"}','285d628ca10baec1c258bc009ae655ec5b6655eb22fb585b61cb961ae6559a67');
INSERT INTO "results" VALUES(3,'eb1167b367a9c3787c65c1e582e2e662','press-1','P00003','NOT_DECIDABLE','2026-03-01T12:00:00.011000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.010000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.011000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"99571c84be3c5f9b44a9ec369aae7b9519532c733fc3dd5531786af5858226d8","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":13,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":true,"label":"cracked","text":null}],"frame_age_ms":12.5,"frame_index":3,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"cracked":0.97,"ok":0.03},"runner_up":{"probability":0.03,"value":"ok"},"value":"cracked"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00003","part_id_given":true,"prev_hash":"285d628ca10baec1c258bc009ae655ec5b6655eb22fb585b61cb961ae6559a67","reasons":[{"ask":"cap","code":"FINDING","message":"the cap is cracked"}],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"eb1167b367a9c3787c65c1e582e2e662","row_hash":"f815a30c5c59d47558f58b5a16273d9d35bfc211efc2b18640c64ab52f329311","schema":"lineside.result/1","sequence":3,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.009000Z","verdict":"NOT_DECIDABLE"}','f815a30c5c59d47558f58b5a16273d9d35bfc211efc2b18640c64ab52f329311');
CREATE TABLE tallies (
	station VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	total INTEGER NOT NULL, 
	CONSTRAINT pk_tallies PRIMARY KEY (station, verdict)
);
INSERT INTO "tallies" VALUES('press-1','OK',1);
INSERT INTO "tallies" VALUES('press-1','NOT_OK',1);
INSERT INTO "tallies" VALUES('press-1','NOT_DECIDABLE',1);
CREATE INDEX ix_results_part_id ON results (part_id);
CREATE INDEX ix_results_decided_at ON results (decided_at);
CREATE INDEX ix_results_station_sequence ON results (station, sequence);
CREATE INDEX ix_results_verdict_sequence ON results (verdict, sequence);
CREATE INDEX ix_findings_label ON findings (label);
CREATE INDEX ix_evidence_files_eviction ON evidence_files (state, rank, last_sequence);
CREATE INDEX ix_evidence_evidence_id ON evidence (evidence_id);
CREATE INDEX ix_evidence_files_expiry ON evidence_files (state, keep_until_s);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('intakes',4);
COMMIT;
