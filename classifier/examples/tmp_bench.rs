use burn::prelude::*;
use roentgen_classifier::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let small = a[1] == "small";
    let b: usize = a[2].parse().unwrap();
    let s: usize = a[3].parse().unwrap();
    let d = Device::flex();
    let ad = d.clone().autodiff();
    let cfg = if small { DenseNetConfig::small(1, 14) } else { DenseNetConfig::densenet121(1, 14) };
    let net = cfg.init(&ad);
    println!("params {}", net.num_params());
    let x = Tensor::<4>::random([b, 1, s, s], burn::tensor::Distribution::Default, &ad);
    for _ in 0..4 {
        let t = std::time::Instant::now();
        let l = net.forward(x.clone()).sum();
        let f = t.elapsed();
        let _g = l.backward();
        println!("fwd {:?} total {:?}", f, t.elapsed());
    }
}
