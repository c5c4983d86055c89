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
INSERT INTO "alembic_version" VALUES('0001');
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
INSERT INTO "device_state" VALUES('evidence.bytes','21');
CREATE TABLE evidence (
	sequence INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	evidence_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (sequence, position), 
	CONSTRAINT fk_evidence_sequence_results FOREIGN KEY(sequence) REFERENCES results (sequence), 
	CONSTRAINT fk_evidence_evidence_id_evidence_files FOREIGN KEY(evidence_id) REFERENCES evidence_files (evidence_id)
);
INSERT INTO "evidence" VALUES(1,0,'565339bc4d33d72817b583024112eb7f5cdf3e5eef0252d6ec1b9c9a94e12bb3');
INSERT INTO "evidence" VALUES(2,0,'97cd9179db1488267c6e603439e84b690d10264f8ab0a75839f415384c954e30');
INSERT INTO "evidence" VALUES(3,0,'f54cf47cd287e0538aa0df6e5a74fe1fa73f05f1efbe5ae84178358cfb856b9d');
CREATE TABLE evidence_files (
	evidence_id VARCHAR(64) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	last_sequence INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	CONSTRAINT pk_evidence_files PRIMARY KEY (evidence_id)
);
INSERT INTO "evidence_files" VALUES('565339bc4d33d72817b583024112eb7f5cdf3e5eef0252d6ec1b9c9a94e12bb3',2,0,1,'KEPT');
INSERT INTO "evidence_files" VALUES('97cd9179db1488267c6e603439e84b690d10264f8ab0a75839f415384c954e30',6,2,2,'KEPT');
INSERT INTO "evidence_files" VALUES('f54cf47cd287e0538aa0df6e5a74fe1fa73f05f1efbe5ae84178358cfb856b9d',13,1,3,'KEPT');
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
INSERT INTO "intakes" VALUES(4,'f7c1bd874da5e709d4713d60c8a70639','{"boot_id":"boot-a","camera":"cam1","expected":{"lot":"L123456A"},"frame_index":4,"is_simulated":false,"part_id":"P00004","part_id_given":true,"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"f7c1bd874da5e709d4713d60c8a70639","station":"press-1","trigger":"grpc","triggered_at":"2026-03-01T12:00:00.011000Z"}');
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
INSERT INTO "results" VALUES(1,'e3e70682c2094cac629f6fbed82c07cd','press-1','P00001','OK','2026-03-01T12:00:00.004000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.003000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.004000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"565339bc4d33d72817b583024112eb7f5cdf3e5eef0252d6ec1b9c9a94e12bb3","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":2,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":false,"label":"ok","text":null}],"frame_age_ms":12.5,"frame_index":1,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"ok":0.97},"runner_up":{"probability":0.03,"value":"ok"},"value":"ok"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00001","part_id_given":true,"prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","reasons":[],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"e3e70682c2094cac629f6fbed82c07cd","row_hash":"139458d93e6c9b164500e4dc86216c2bd697130c39d01a1117d6d0777d2616df","schema":"lineside.result/1","sequence":1,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.002000Z","verdict":"OK"}','139458d93e6c9b164500e4dc86216c2bd697130c39d01a1117d6d0777d2616df');
INSERT INTO "results" VALUES(2,'f728b4fa42485e3a0a5d2f346baa9455','press-1','P00002','NOT_OK','2026-03-01T12:00:00.007000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.006000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.007000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"97cd9179db1488267c6e603439e84b690d10264f8ab0a75839f415384c954e30","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":6,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":true,"label":"cracked","text":null}],"frame_age_ms":12.5,"frame_index":2,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"cracked":0.97,"ok":0.03},"runner_up":{"probability":0.03,"value":"ok"},"value":"cracked"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00002","part_id_given":true,"prev_hash":"139458d93e6c9b164500e4dc86216c2bd697130c39d01a1117d6d0777d2616df","reasons":[{"ask":"cap","code":"FINDING","message":"the cap is cracked"}],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"f728b4fa42485e3a0a5d2f346baa9455","row_hash":"eb0d6b13287ba7dfa6501dbf479bbbe9a0cbbc0575e218566aa7b82c8ab9fcf3","schema":"lineside.result/1","sequence":2,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.005000Z","verdict":"NOT_OK"}','eb0d6b13287ba7dfa6501dbf479bbbe9a0cbbc0575e218566aa7b82c8ab9fcf3');
INSERT INTO "results" VALUES(3,'eb1167b367a9c3787c65c1e582e2e662','press-1','P00003','NOT_DECIDABLE','2026-03-01T12:00:00.010000Z','{"boot_id":"boot-a","camera":"cam1","captured_at":"2026-03-01T12:00:00.009000Z","clock_synchronised":true,"decided_at":"2026-03-01T12:00:00.010000Z","device":"box-1","engine":{"digest":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","name":"demo","runtime":"onnxruntime","version":"1.0.0"},"evidence":[{"ask":null,"evidence_id":"f54cf47cd287e0538aa0df6e5a74fe1fa73f05f1efbe5ae84178358cfb856b9d","height":48,"media_type":"image/jpeg","role":"frame","size_bytes":13,"width":64}],"evidence_lost":false,"expected":{"lot":"L123456A"},"findings":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"count":null,"is_defect":true,"label":"cracked","text":null}],"frame_age_ms":12.5,"frame_index":3,"is_simulated":false,"outcomes":[{"ask":"cap","box":[0.35,0.1,0.65,0.45],"confidence":0.97,"familiarity":0.4,"kind":"choice","probabilities":{"cracked":0.97,"ok":0.03},"runner_up":{"probability":0.03,"value":"ok"},"value":"cracked"}],"part_box":[0.2,0.1,0.8,0.9],"part_id":"P00003","part_id_given":true,"prev_hash":"eb0d6b13287ba7dfa6501dbf479bbbe9a0cbbc0575e218566aa7b82c8ab9fcf3","reasons":[{"ask":"cap","code":"FINDING","message":"the cap is cracked"}],"recipe":{"hash":"abababababababababababababababababababababababababababababababab","name":"cap-check","version":3},"result_id":"eb1167b367a9c3787c65c1e582e2e662","row_hash":"90f1460b53d5bf92dbd29e536572528a692e3310be58a871c49c0c50cf4e5ee0","schema":"lineside.result/1","sequence":3,"station":"press-1","timings_ms":{"preprocess":1.5,"total":31,"vision":8.25},"trigger":"grpc","triggered_at":"2026-03-01T12:00:00.008000Z","verdict":"NOT_DECIDABLE"}','90f1460b53d5bf92dbd29e536572528a692e3310be58a871c49c0c50cf4e5ee0');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('intakes',4);
COMMIT;
