//! Downloads by the library.

use std::path::{Path, PathBuf};
use std::time::Duration;

use roentgen::hub::{Cache, Found, Hub, HubError, Want, Wanted, snapshot_name};
use roentgen_augment::progress::Silent;

use super::server::{Model, Server, etag};
use super::{UNET, tiny};

/// A hub with a tiny pipeline `me/tiny`, and a cache.
struct Bench {
    server: Server,
    cache: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::of(Model::of_folder(tiny(), 'a'))
    }

    fn of(model: Model) -> Self {
        Self { server: Server::new([("me/tiny", model)]), cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        Hub::new(Cache::new(self.cache.path())).with_endpoint(&self.server.address).with_pause(Duration::from_millis(1))
    }

    fn find(&self, name: &str, want: impl Into<Wanted>) -> Result<Found, HubError> {
        self.hub().find(&name.parse().unwrap(), want, &Silent)
    }

    fn finds(&self, name: &str, want: impl Into<Wanted>) -> PathBuf {
        self.find(name, want).unwrap_or_else(|error| panic!("{}", said(&error))).folder
    }

    fn refuses(&self, name: &str, want: impl Into<Wanted>, parts: &[&str]) -> String {
        let message = said(&self.find(name, want).unwrap_err());
        parts.iter().for_each(|part| assert!(message.contains(part), "{message}\nexpected {part}"));
        message
    }

    /// A file of the repository's folder in the cache.
    fn cached(&self, file: &str) -> PathBuf {
        self.cache.path().join("models--me--tiny").join(file)
    }

    fn blob(&self, file: &str) -> PathBuf {
        let content = self.server.state().models["me/tiny"].files[file].clone();
        self.cached("blobs").join(etag(file, &content))
    }

    fn unet_downloads(&self) -> Vec<Option<String>> {
        let requests = self.server.requests();
        requests
            .into_iter()
            .filter(|request| request.path.starts_with("/cdn") && request.path.ends_with(UNET))
            .map(|request| request.range)
            .collect()
    }
}

/// The message with its causes.
fn said(error: &HubError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// Every file of the tiny pipeline, as it was served.
fn assert_whole(folder: &Path) {
    for (file, content) in Model::of_folder(tiny(), 'a').files {
        assert!(std::fs::read(folder.join(&file)).unwrap() == content, "{file}");
    }
}

#[test]
fn a_pipeline_is_downloaded_once_and_nothing_beside_it() {
    let model = Model::of_folder(tiny(), 'a')
        .with("README.md", b"# Tiny")
        .with("tiny.ckpt", b"x")
        .with("unet/diffusion_pytorch_model.bin", b"x")
        .with("unet/diffusion_pytorch_model.fp16.safetensors", b"x")
        .with("unet/diffusion_pytorch_model.non_ema.safetensors", b"x")
        .with("text_encoder/flax_model.msgpack", b"x")
        .with("safety_checker/config.json", b"{}")
        .with("safety_checker/model.safetensors", b"x");
    let bench = Bench::of(model);
    let found = bench.find("me/tiny", Want::Pipeline).unwrap();
    let commit = "a".repeat(40);
    assert_eq!(
        (found.name.to_string(), snapshot_name(&found.folder)),
        (format!("me/tiny@{commit}"), Some(format!("me/tiny@{commit}")))
    );
    assert_whole(&found.folder);
    let requests = bench.server.requests();
    for beside in ["README", "ckpt", ".bin", "fp16", "non_ema", "flax", "safety_checker"] {
        assert!(requests.iter().all(|request| !request.path.contains(beside)), "{beside}: {requests:#?}");
    }
    // The cache is as Python's library leaves it.
    assert_eq!(std::fs::read_to_string(bench.cached("refs/main")).unwrap(), commit);
    let link = std::fs::read_link(found.folder.join(UNET)).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(bench.blob(UNET).file_name().unwrap()));
    assert!(
        std::fs::read_dir(bench.cached("blobs")).unwrap().all(|blob| !blob
            .unwrap()
            .path()
            .to_string_lossy()
            .contains("incomplete"))
    );

    // Again, by other names, and offline: not one request.
    for name in ["me/tiny".to_owned(), "me/tiny@main".to_owned(), format!("me/tiny@{commit}")] {
        assert_eq!(bench.finds(&name, Want::Pipeline), found.folder);
        assert_eq!(bench.hub().offline().find(&name.parse().unwrap(), Want::Pipeline, &Silent).unwrap(), found);
    }
    assert_eq!(bench.finds("me/tiny:text_encoder", Want::TextEncoder), found.folder.join("text_encoder"));
    assert_eq!(bench.server.requests(), []);
}

#[test]
fn one_component_brings_itself_alone() {
    let bench = Bench::new();
    let folder = bench.finds("me/tiny:vae", Want::Vae);
    assert!(folder.ends_with("vae") && folder.join("config.json").is_file());
    assert!(bench.server.requests().iter().all(|request| !request.path.contains("unet")));
    // An encoder brings its tokenizer.
    let folder = bench.finds("me/tiny:text_encoder", Want::TextEncoder);
    assert!(folder.join("model.safetensors").is_file() && folder.join("../tokenizer/vocab.json").is_file());
    assert!(!folder.join("../unet").exists());
    // What is there already is not asked for twice.
    bench.server.requests();
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
    assert!(bench.server.requests().iter().all(|request| !request.path.contains("cdn/me/tiny/vae")));
}

#[test]
fn an_encoder_of_its_own_brings_the_tokenizer_beside_its_weights() {
    let tiny = Model::of_folder(tiny(), 'a');
    let mut model = Model { files: Default::default(), ..tiny.clone() }.with("README.md", b"x");
    for (name, content) in &tiny.files {
        if let Some(name) = name.strip_prefix("text_encoder/").or_else(|| name.strip_prefix("tokenizer/")) {
            model = model.with(name, content);
        }
    }
    let bench = Bench::of(model);
    let folder = bench.finds("me/tiny", Want::TextEncoder);
    assert!(folder.join("vocab.json").is_file() && folder.join("merges.txt").is_file() && !folder.join("README.md").exists());
    assert_eq!(bench.finds("me/tiny", Want::Tokenizer), folder);
    bench.refuses("me/tiny", Want::UNet, &["no U-Net", "it has no diffusion_pytorch_model.safetensors"]);
}

#[test]
fn shards_are_those_of_the_index() {
    let unet = Model::of_folder(tiny(), 'a').files[UNET].clone();
    let index = |shard: &str| format!("{{\"metadata\": {{}}, \"weight_map\": {{\"conv_in.bias\": \"{shard}\"}}}}");
    let sharded = |shard: &str| {
        Model::of_folder(tiny(), 'a')
            .without(UNET)
            .with("unet/diffusion_pytorch_model.safetensors.index.json", index(shard).as_bytes())
    };
    let bench = Bench::of(sharded("1-of-1.safetensors").with("unet/1-of-1.safetensors", &unet));
    let folder = bench.finds("me/tiny", Want::Pipeline);
    assert!(std::fs::read(folder.join("unet/1-of-1.safetensors")).unwrap() == unet);
    std::fs::remove_file(folder.join("unet/1-of-1.safetensors")).unwrap();
    assert!(bench.finds("me/tiny", Want::Pipeline).join("unet/1-of-1.safetensors").is_file());
    Bench::of(sharded("2.safetensors")).refuses("me/tiny", Want::Pipeline, &["no unet/2.safetensors", "index.json names"]);
    Bench::of(sharded("../2.safetensors")).refuses("me/tiny", Want::Pipeline, &["no index of shards"]);
}

/// Files of weights that were downloaded since the last call.
fn weights(bench: &Bench) -> Vec<String> {
    let requests =
        bench.server.requests().into_iter().filter_map(|request| Some(request.path.strip_prefix("/cdn/me/tiny/")?.to_owned()));
    requests.collect()
}

#[test]
fn a_variant_is_downloaded_in_place_of_the_plain_weights() {
    let half = UNET.replace(".safetensors", ".fp16.safetensors");
    let variant = |name: &str| Wanted { variant: Some(name.to_owned()), ..Want::Pipeline.into() };
    let [text, vae] = ["text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"];
    let mut unet = Model::of_folder(tiny(), 'a').files[UNET].clone();
    *unet.last_mut().unwrap() ^= 1;
    let bench = Bench::of(Model::of_folder(tiny(), 'a').with(&half, &unet).with(&half.replace("fp16", "non_ema"), b"x"));
    bench.refuses("me/tiny", variant("bf16"), &["it has no weights of variant bf16", "the variants fp16, non_ema"]);
    assert_eq!(weights(&bench), [""; 0]);
    let folder = bench.finds("me/tiny", variant("fp16"));
    assert_eq!(weights(&bench), [text, &half, vae]);
    assert!(folder.join(&half).is_file() && !folder.join(UNET).exists());

    // Two components have plain weights alone, which the hub is asked about, and it has no others.
    assert_eq!(bench.finds("me/tiny", variant("fp16")), folder);
    assert_eq!(
        bench.server.requests().iter().map(|request| request.method.as_str()).filter(|method| *method == "GET").count(),
        1
    );
    // The plain weights of the U-Net are not in the cache, though its only variant could be read.
    let offline = bench.hub().offline().find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent).unwrap();
    assert_eq!((offline.folder, bench.server.requests()), (folder.clone(), Vec::new()));
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), folder);
    assert_eq!(weights(&bench), [UNET]);
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), folder);
    assert_eq!(bench.server.requests(), []);
    // What the cache has serves where the hub has the model no longer.
    bench.server.state().models.clear();
    assert_eq!(bench.finds("me/tiny", variant("fp16")), folder);
}

#[test]
fn components_that_come_from_elsewhere_are_not_downloaded() {
    let bench = Bench::new();
    let folder = bench.finds("me/tiny", Wanted { replaced: vec!["unet"], ..Want::Pipeline.into() });
    assert!(folder.join("unet/config.json").is_file() && !folder.join(UNET).exists());
    assert!(!weights(&bench).iter().any(|file| file == UNET));
    let other = bench.finds("me/tiny", Wanted { replaced: vec!["text_encoder", "unet", "vae"], ..Want::Pipeline.into() });
    assert_eq!((other, bench.server.requests()), (folder, Vec::new()));
}

#[test]
fn a_token_goes_to_the_hub_alone_and_opens_gated_models() {
    let bench = Bench::of(Model { token: Some("hf_mine".to_owned()), ..Model::of_folder(tiny(), 'a') });
    bench.refuses(
        "me/tiny",
        Want::Pipeline,
        &["accept", &format!("{}/me/tiny", bench.server.address), "HF_TOKEN", "hf auth login"],
    );
    let other = bench.hub().with_token("hf_other").find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent);
    let message = said(&other.unwrap_err());
    assert!(message.contains("account of your token") && !message.contains("hf_other"), "{message}");
    bench.server.requests();
    let found = bench.hub().with_token("hf_mine").find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent).unwrap();
    assert_whole(&found.folder);
    for request in bench.server.requests() {
        let expected = (!request.path.starts_with("/cdn")).then(|| "hf_mine".to_owned());
        assert_eq!(request.token, expected, "{request:?}");
    }
}

#[test]
fn an_interrupted_download_is_continued() {
    let bench = Bench::new();
    bench.server.state().budget = Some(150_000);
    bench.refuses("me/tiny", Want::Pipeline, &["broke off after", "the connection was closed", "the same command continues"]);
    let parts = || std::fs::read_dir(bench.cached("blobs")).unwrap().map(|blob| blob.unwrap().path());
    let part = parts().find(|path| path.extension().is_some_and(|end| end == "incomplete")).expect("a half file");
    let have = std::fs::metadata(&part).unwrap().len();
    assert!(!bench.cached("refs/main").exists(), "a revision is named when it is complete");
    let offline = bench.hub().offline().find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent);
    assert!(said(&offline.unwrap_err()).contains("unset HF_HUB_OFFLINE"));

    bench.server.state().budget = None;
    bench.server.requests();
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
    let sent = bench.server.requests().into_iter().filter(|request| request.path.starts_with("/cdn"));
    let ranges: Vec<_> = sent.filter_map(|request| request.range).collect();
    assert_eq!(ranges, [format!("bytes={have}-")]);
    assert_eq!(parts().filter(|path| path.extension().is_some_and(|end| end == "incomplete")).count(), 0);
}

#[test]
fn a_connection_that_breaks_is_replaced() {
    let bench = Bench::new();
    bench.server.state().cut_after = Some(100_000);
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
    let ranges = bench.unet_downloads();
    assert!(ranges.len() > 1 && ranges[0].is_none() && ranges[1].as_deref() == Some("bytes=100000-"), "{ranges:?}");
}

#[test]
fn what_an_earlier_start_left_is_checked() {
    // A server without ranges, a part of another content, one longer than the file, and one that is whole but for its name.
    let unet = Model::of_folder(tiny(), 'a').files[UNET].clone();
    for (ignores_ranges, left) in [
        (true, unet[..1000].to_vec()),
        (false, vec![7; 1000]),
        (false, vec![7; unet.len() + 5]),
        (false, vec![7; unet.len()]),
        (false, unet.clone()),
    ] {
        let bench = Bench::new();
        bench.server.state().ignores_ranges = ignores_ranges;
        let part = bench.blob(UNET).with_extension("incomplete");
        std::fs::create_dir_all(part.parent().unwrap()).unwrap();
        std::fs::write(&part, &left).unwrap();
        assert_whole(&bench.finds("me/tiny", Want::Pipeline));
        let downloads = bench.unet_downloads().len();
        assert_eq!(downloads == 0, left == unet, "{downloads} downloads after {} bytes", left.len());
    }
}

#[test]
fn other_bytes_than_the_hub_lists_are_refused() {
    let bench = Bench::new();
    bench.server.state().garbles = true;
    bench.refuses("me/tiny", Want::Pipeline, &["another content", "SHA-256", "try again"]);
    assert_eq!(
        std::fs::read_dir(bench.cached("blobs")).unwrap().filter(|blob| blob.as_ref().unwrap().file_name().len() > 40).count(),
        0
    );
    bench.server.state().garbles = false;
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
}

#[test]
fn what_is_missing_or_cut_short_in_the_cache_comes_again() {
    let bench = Bench::new();
    let folder = bench.finds("me/tiny", Want::Pipeline);
    let offline = || said(&bench.hub().offline().find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent).unwrap_err());

    std::fs::remove_file(bench.blob(UNET)).unwrap();
    let message = offline();
    assert!(
        message.contains(&format!("{UNET} is a link to a blob that is not there")) && message.contains("unset HF_HUB_OFFLINE"),
        "{message}"
    );
    bench.server.requests();
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), folder);
    assert_whole(&folder);
    assert!(bench.server.requests().iter().all(|request| !request.path.starts_with("/cdn") || request.path.ends_with(UNET)));

    let file = std::fs::File::options().write(true).open(bench.blob(UNET)).unwrap();
    file.set_len(5000).unwrap();
    assert!(offline().contains(&format!("{UNET} is cut short or damaged")));
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), folder);
    assert_whole(&folder);

    std::fs::write(bench.cached("refs/main"), "").unwrap();
    assert!(offline().contains("no revision `main`"));
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), folder);
    std::fs::remove_file(folder.join("tokenizer/merges.txt")).unwrap();
    assert!(offline().contains("tokenizer"));
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
}

#[test]
fn revisions_are_kept_apart() {
    let bench = Bench::new();
    let first = bench.finds("me/tiny", Want::Pipeline);
    let mut second = Model::of_folder(tiny(), 'b')
        .with("scheduler/scheduler_config.json", &std::fs::read(tiny().join("scheduler/scheduler_config.json")).unwrap());
    second.revisions = ["v2", "feature/x"].map(str::to_owned).into();
    bench.server.state().models.insert("me/tiny".to_owned(), second);
    let tagged = bench.finds("me/tiny@v2", Want::Pipeline);
    assert!(tagged != first && bench.finds("me/tiny@feature/x", Want::Pipeline) == tagged);
    assert_eq!(bench.finds("me/tiny", Want::Pipeline), first, "main is what it was");
    bench.refuses("me/tiny@v3", Want::Pipeline, &["no revision `v3`", "commits/main"]);
    bench.refuses(&format!("me/tiny@{}", "c".repeat(40)), Want::Pipeline, &["no revision `ccc"]);
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::new();
    bench.refuses("me/huge", Want::Pipeline, &["no model me/huge", "spelling", "folder of that name", "HF_TOKEN"]);
    bench.refuses("me/tiny", Want::TextEncoder, &["no text encoder", "whole pipeline", "`:text_encoder`"]);
    bench.refuses("me/tiny", Want::UNet, &["`:unet`"]);
    bench.refuses("me/tiny:unet2", Want::UNet, &["it has no unet2/config.json"]);

    let empty = || Model { files: Default::default(), ..Model::of_folder(tiny(), 'a') };
    for (model, parts) in [
        (
            empty().with("v1-5-pruned.safetensors", b"x").with("README.md", b"x"),
            ["no model_index.json", "`roentgen convert owner/name:v1-5-pruned.safetensors`"],
        ),
        (empty().with("pytorch_lora_weights.safetensors", b"x"), ["no model_index.json", "--lora"]),
        (Model::of_folder(tiny(), 'a').without("vae/diffusion"), ["no vae/diffusion_pytorch_model.safetensors", "no pipeline"]),
        (Model::of_folder(tiny(), 'a').without("tokenizer/merges"), ["vocab.json with merges.txt", "no pipeline"]),
    ] {
        Bench::of(model).refuses("me/tiny", Want::Pipeline, &parts);
    }
    let open_clip =
        empty().with("open_clip_config.json", b"{}").with("open_clip_pytorch_model.bin", b"x").with("vocab.txt", b"x");
    Bench::of(open_clip).refuses("me/tiny", Want::TextEncoder, &["open_clip", "save_pretrained", "BiomedBERT"]);
}

#[test]
fn what_can_not_be_used_is_refused_before_its_weights_are_downloaded() {
    let xl = br#"{"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}"#;
    let tiny = || Model::of_folder(tiny(), 'a');
    let inpainting = String::from_utf8(tiny().files["unet/config.json"].clone()).unwrap();
    let inpainting = inpainting.replace("\"in_channels\": 4", "\"in_channels\": 9");
    for (model, parts) in [
        (tiny().with("model_index.json", xl), ["were not downloaded", "Stable Diffusion XL"]),
        (tiny().with("unet/config.json", inpainting.as_bytes()), ["were not downloaded", "inpainting"]),
        (tiny().with("vae/config.json", b"no json"), ["were not downloaded", "vae/config.json"]),
    ] {
        let bench = Bench::of(model);
        bench.refuses("me/tiny", Want::Pipeline, &parts);
        assert!(bench.server.requests().iter().all(|request| !request.path.starts_with("/cdn")));
    }
}

#[test]
fn a_hub_that_is_busy_is_asked_again_and_one_that_is_none_is_named() {
    let bench = Bench::new();
    bench.server.state().busy = 3;
    assert_whole(&bench.finds("me/tiny", Want::Pipeline));
    let bench = Bench::new();
    bench.server.state().busy = 100;
    bench.refuses("me/tiny", Want::Pipeline, &["cannot reach", "503", "hf download me/tiny", "HF_HOME"]);

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = bench.hub().with_endpoint(&format!("http://{nobody}"));
    let message = said(&hub.find(&"me/tiny".parse().unwrap(), Want::Pipeline, &Silent).unwrap_err());
    let parts = [nobody.to_string().as_str(), "refused", "none of that name"].map(|part| message.contains(part));
    assert_eq!(parts, [true; 3], "{message}");
}

#[test]
fn two_downloads_at_once_share_the_work() {
    let bench = Bench::new();
    let folders = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| bench.finds("me/tiny", Want::Pipeline)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(folders.iter().all(|folder| *folder == folders[0]));
    assert_whole(&folders[0]);
    assert_eq!(bench.unet_downloads().len(), 1);
}
