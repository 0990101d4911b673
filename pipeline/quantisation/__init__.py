"""Equalisation, onnx2tf, the lift of its output to Keras layers, and tfmot QAT in the KPU's scheme.

``quantise.quantise`` is the way in. The caller's process checks the network (``check``) and equalises its weights
(``channel_groups``, ``equalise``); one child process (``child``, ``worker``, files in ``exchange``) does all that
needs TensorFlow: ``convert_tf`` → ``lift_keras`` (``keras_graph``, ``keras_linear``, ``keras_operators``) →
``to_tflite``, and ``qat`` in the scheme of ``kpu_scheme``.
"""
